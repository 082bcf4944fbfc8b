package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/tidwall/gjson"
)

// proxied puts the validating proxy in front of target, if the environment
// names one, and returns the base URL for clients. When the test ends, every
// answer that broke the specification's definitions fails it.
func proxied(t *testing.T, target string) string {
	t.Helper()
	binary, spec := os.Getenv("HEARTH_SPECPROXY"), os.Getenv("HEARTH_SPEC")
	if binary == "" || spec == "" {
		return target
	}
	listen := freeAddress(t)
	report := fmt.Sprintf("%s/report.json", t.TempDir())
	proxy := exec.Command(binary, "-listen", listen, "-target", target, "-spec", spec, "-report", report)
	proxy.Stderr = io.Discard // it repeats every refused connection while the server is down
	if err := proxy.Start(); err != nil {
		t.Fatalf("starting the validating proxy: %v", err)
	}
	base := "http://" + listen
	waitFor(t, "the validating proxy answers", func() bool {
		res, err := http.Get(base + "/__specproxy/summary")
		if err != nil {
			return false
		}
		res.Body.Close()
		return true
	})
	t.Cleanup(func() {
		_ = proxy.Process.Signal(syscall.SIGTERM)
		_ = proxy.Wait() // the report says how it went
		checkReport(t, report)
	})
	return base
}

func checkReport(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Errorf("reading the proxy's report: %v", err)
		return
	}
	report := gjson.ParseBytes(b)
	t.Logf("validated %s requests to %s operations", report.Get("totals.requests"), report.Get("totals.seen"))
	for _, op := range report.Get("operations").Array() {
		for _, fault := range op.Get("response.samples").Array() {
			t.Errorf("%s %s: %s answer: %s at %q (%s, %s times)", op.Get("method"), op.Get("path"), fault.Get("status"),
				strings.TrimSpace(fault.Get("message").String()), fault.Get("pointer"), fault.Get("request"), fault.Get("count"))
		}
	}
}
