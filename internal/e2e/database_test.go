package e2e

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// crashes are the ways to take a server and its private database down.
var crashes = []func(*server){
	func(s *server) { s.kill() },
	func(s *server) { s.kill(); s.killDatabase() },
	func(s *server) { s.killDatabase(); s.kill() },
	func(s *server) { s.killDatabase(); time.Sleep(200 * time.Millisecond); s.kill() }, // requests run into the void
	(*server).killDatabase,                                                             // the server brings it back by itself
}

// killDatabase kills the private database's postmaster with SIGKILL.
func (s *server) killDatabase() {
	s.t.Helper()
	pid := postmaster(s.t, s.dataDir)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		s.t.Errorf("killing the database (process %d): %v", pid, err)
	}
}

// postmaster finds the process of the PostgreSQL cluster below dir.
func postmaster(t *testing.T, dir string) int {
	t.Helper()
	pid := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "postmaster.pid" {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		first, _, _ := strings.Cut(string(b), "\n")
		pid, err = strconv.Atoi(first)
		return err
	})
	if err != nil || pid == 0 {
		t.Fatalf("finding the private database below %s: process %d, %v", dir, pid, err)
	}
	return pid
}
