package postgres

import (
	"bufio"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func start(t *testing.T, dir string) *Cluster {
	t.Helper()
	c, err := Start(t.Context(), Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Stop() })
	return c
}

func query(t *testing.T, c *Cluster, q string) string {
	t.Helper()
	db, err := sql.Open("postgres", c.ConnString())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var answer sql.NullString
	for range 100 { // while it restarts
		if err = db.QueryRow(q).Scan(&answer); err == nil || err == sql.ErrNoRows {
			return answer.String
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatalf("%s: %v", q, err)
	return ""
}

// dataDir returns a directory that the cluster's owner can reach: those of
// testing.T.TempDir are closed to others.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hearth-pg")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// TestLife starts a cluster, stops and starts it again, kills its postmaster
// while it runs, and finds its data each time.
func TestLife(t *testing.T) {
	dir := dataDir(t)
	c := start(t, dir)
	query(t, c, `CREATE TABLE t AS SELECT 'kept' AS what; SELECT 1`)
	if got := query(t, c, `SELECT current_setting('listen_addresses') || current_setting('lc_collate') || current_setting('server_encoding')`); got != "CUTF8" {
		t.Fatalf("settings: %s", got)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	c = start(t, dir)
	if err := syscall.Kill(c.process.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if got := query(t, c, `SELECT what FROM t`); got != "kept" {
		t.Fatalf("after a restart and a kill: %q", got)
	}
	attached, err := Attach(t.Context(), Options{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := attached.Stop(); err != nil || query(t, c, `SELECT what FROM t`) != "kept" {
		t.Fatalf("a second process stopped a cluster that isn't its own (%v)", err)
	}
}

// TestTakeOver kills a process that runs a cluster; the next one takes the
// postmaster over.
func TestTakeOver(t *testing.T) {
	if dir := os.Getenv("HEARTH_POSTGRES_CHILD"); dir != "" {
		c, err := Start(context.Background(), Options{DataDir: dir})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("pid", c.process.pid)
		select {}
	}
	dir := dataDir(t)
	child := exec.Command(os.Args[0], "-test.run=^TestTakeOver$")
	child.Env = append(os.Environ(), "HEARTH_POSTGRES_CHILD="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		if n, _ := fmt.Sscanf(lines.Text(), "pid %d", &pid); n == 0 {
			t.Log(lines.Text())
		}
	}
	child.Process.Kill()
	child.Wait()
	if pid == 0 || !alive(pid) {
		t.Fatalf("postmaster %d didn't outlive the process that started it", pid)
	}
	c := start(t, dir)
	if c.process.pid != pid {
		t.Fatalf("postmaster %d instead of %d", c.process.pid, pid)
	}
	if err := c.Stop(); err != nil || alive(pid) {
		t.Fatalf("postmaster %d is still there (%v)", pid, err)
	}
}

// TestClosedHome has root's cluster in a directory that its owner can't reach.
func TestClosedHome(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root's cluster belongs to somebody else")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := start(t, dir)
	t.Cleanup(func() { os.RemoveAll(c.place.base) })
	if strings.HasPrefix(c.place.base, dir) || query(t, c, `SELECT 1`) != "1" {
		t.Fatalf("the cluster is in %s", c.place.base)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if again := start(t, dir); again.place != c.place {
		t.Fatalf("%v, then %v", c.place, again.place)
	}
}

// nobody is the unprivileged user of every Linux system.
const nobody = 65534

// TestOrdinaryUser runs the story again as somebody who isn't root.
func TestOrdinaryUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("TestLife is this test already")
	}
	dir := dataDir(t)
	program := dir + "/postgres.test"
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(program, "-test.run=^(TestLife|TestTakeOver)$")
	child.Dir = "/"
	child.Env = append(os.Environ(), "HOME=/")
	child.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// TestForeignSocketDirectory refuses a directory that an attacker made first.
func TestForeignSocketDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs to make a directory for somebody else")
	}
	o, err := clusterOwner()
	if err != nil {
		t.Fatal(err)
	}
	dir := dataDir(t) + "/socket"
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, 64123, 64123); err != nil {
		t.Fatal(err)
	}
	if err := o.makeDir(dir); err == nil || !strings.Contains(err.Error(), "must be a directory that belongs to") {
		t.Fatalf("taken: %v", err)
	}
}
