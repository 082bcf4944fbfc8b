package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"hearth/internal/testenv"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// server is one Hearth: a configuration and, while it runs, a process. It keeps
// its address over restarts.
type server struct {
	t       *testing.T
	binary  string
	config  string // file
	dataDir string
	direct  string // base URL of the process itself
	base    string // base URL for clients: the validating proxy's, if there is one

	cmd    *exec.Cmd
	exited chan struct{} // closed when cmd has ended
	log    *os.File
}

// newServer configures a Hearth with a private database and open registration,
// changed by further key=value settings, and doesn't start it.
func newServer(t *testing.T, settings ...string) *server {
	t.Helper()
	address := freeAddress(t)
	s := &server{
		t: t, binary: hearthBinary(t), config: filepath.Join(t.TempDir(), "homeserver.yaml"),
		dataDir: filepath.Join(testenv.Dir(t), "data"), direct: "http://" + address,
	}
	s.base = proxied(t, s.direct)
	args := []string{"generate-config", "--server-name", "hearth.test", "--data-dir", s.dataDir}
	for _, setting := range append([]string{
		"listen.client=" + address, "listen.federation=" + freeAddress(t),
		"registration.enabled=true", "rate_limits.enabled=false",
	}, settings...) {
		args = append(args, "--set", setting)
	}
	generate := exec.Command(s.binary, args...)
	var stderr bytes.Buffer
	generate.Stderr = &stderr
	config, err := generate.Output()
	if err != nil {
		t.Fatalf("generate-config: %v\n%s", err, &stderr)
	}
	if err := os.WriteFile(s.config, config, 0o600); err != nil {
		t.Fatal(err)
	}
	if s.log, err = os.Create(filepath.Join(t.TempDir(), "hearth.log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.running() {
			s.stop()
		}
		if t.Failed() {
			t.Logf("the server's log ends with:\n%s", tail(s.readLog(), 40))
		}
		s.log.Close()
	})
	return s
}

// startServer configures and starts a Hearth; see newServer.
func startServer(t *testing.T, settings ...string) *server {
	t.Helper()
	s := newServer(t, settings...)
	s.start()
	return s
}

// start runs the server and waits until it answers.
func (s *server) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.binary, "serve", "--config", s.config)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	cmd, exited := s.cmd, make(chan struct{})
	s.exited = exited
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState
		close(exited)
	}()
	waitFor(s.t, "the server answers", func() bool {
		if !s.running() {
			s.t.Fatalf("the server ended instead of starting: %v", cmd.ProcessState)
		}
		return s.answers()
	})
}

func (s *server) answers() bool {
	res, err := httpClient.Get(s.direct + "/_matrix/client/versions")
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

func (s *server) running() bool {
	if s.cmd == nil {
		return false
	}
	select {
	case <-s.exited:
		return false
	default:
		return true
	}
}

// stop asks the server to end and fails the test unless it does so within the
// ten seconds that it promises, with status 0.
func (s *server) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Errorf("stopping the server: %v", err)
	}
	select {
	case <-s.exited:
	case <-time.After(10 * time.Second):
		s.t.Errorf("the server didn't end within ten seconds of SIGTERM")
		s.kill()
	}
	if code := s.cmd.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("the server ended with %v after SIGTERM", s.cmd.ProcessState)
	}
}

// kill ends the server as a power cut would.
func (s *server) kill() {
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		s.t.Errorf("killing the server: %v", err)
	}
	<-s.exited
}

// run runs another command of the program and returns what it printed.
func (s *server) run(stdin string, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	cmd := exec.Command(s.binary, args...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		s.t.Fatalf("running %v: %v", args, err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (s *server) readLog() string {
	b, err := os.ReadFile(s.log.Name())
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(b)
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// freeAddress is a loopback address that nothing listens on at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
