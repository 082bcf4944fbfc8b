package e2e

import (
	"crypto/tls"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestProgramFederates starts a server that others can find, and has the program say
// so.
func TestProgramFederates(t *testing.T) {
	address := freeAddress(t)
	settings := []string{"server_name=" + address, "listen.federation=" + address, "federation.public_address=" + address,
		"federation.enabled=true", "federation.allow_private_ranges=true", "federation.verify_certificates=false"}
	s := startServer(t, settings...)
	get := func(base, path string) (status int, answer map[string]any) {
		t.Helper()
		insecure := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
		res, err := insecure.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, answer
	}
	if status, keys := get("https://"+address, "/_matrix/key/v2/server"); status != http.StatusOK || keys["server_name"] != address {
		t.Errorf("keys: %d %v", status, keys)
	}
	if status, delegated := get(s.direct, "/.well-known/matrix/server"); status != http.StatusOK || delegated["m.server"] != address {
		t.Errorf("well-known: %d %v", status, delegated)
	}
	if status, refused := get("https://"+address, "/_matrix/client/versions"); status != http.StatusNotFound || refused["errcode"] != "M_UNRECOGNIZED" {
		t.Errorf("the clients' API on the federation's listener: %d %v", status, refused)
	}
	if out, stderr, code := s.run("", "federation", "explain", address, "--config", s.config); code != 0 || !strings.Contains(out, "All is well") {
		t.Errorf("explain: status %d\n%s%s", code, out, stderr)
	}
	if out, _, code := s.run("", "federation", "explain", freeAddress(t), "--config", s.config); code == 0 || !strings.Contains(out, "failed") {
		t.Errorf("explaining a server that isn't there: status %d\n%s", code, out)
	}
}
