package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	_ "github.com/lib/pq" // the driver
)

// startTimeout bounds how long PostgreSQL may take to accept connections:
// recovery after a crash replays what was written since the last checkpoint.
const startTimeout = 2 * time.Minute

// postmaster is PostgreSQL's main process, of which we may not be the parent.
type postmaster struct {
	pid    int
	exited chan struct{} // closed when it has ended
}

// stop ends the process: clients are disconnected and the cluster is shut down
// cleanly, or, if that takes too long, left to recover at its next start.
func (p postmaster) stop() error {
	if p.pid == 0 {
		return nil
	}
	for _, step := range []struct {
		signal  syscall.Signal
		patient time.Duration
	}{{syscall.SIGINT, 7 * time.Second}, {syscall.SIGQUIT, 2 * time.Second}} {
		if err := syscall.Kill(p.pid, step.signal); errors.Is(err, syscall.ESRCH) {
			return nil
		}
		select {
		case <-p.exited:
			return nil
		case <-time.After(step.patient):
		}
	}
	return fmt.Errorf("PostgreSQL (process %d) doesn't stop", p.pid)
}

// running finds the postmaster of the cluster, if one is alive. A pid file that a
// crash left behind, whose number now belongs to another program, is removed.
func (c *Cluster) running() (postmaster, bool) {
	file := filepath.Join(c.place.cluster, "postmaster.pid")
	text, err := os.ReadFile(file)
	if err != nil {
		return postmaster{}, false
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 1 {
		return postmaster{}, false
	}
	if !c.isOurs(pid) {
		if alive(pid) {
			os.Remove(file)
		}
		return postmaster{}, false
	}
	p := postmaster{pid: pid, exited: make(chan struct{})}
	go func() { // not our child: look now and then
		for alive(pid) {
			time.Sleep(200 * time.Millisecond)
		}
		close(p.exited)
	}()
	return p, true
}

// isOurs reports whether the process works in the cluster's directory, as a
// postmaster does.
func (c *Cluster) isOurs(pid int) bool {
	cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	if err != nil {
		return false
	}
	want, err := filepath.EvalSymlinks(c.place.cluster)
	return err == nil && cwd == want
}

// alive reports whether the process exists and isn't a zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// launch takes over a running postmaster or starts one, and waits until it
// accepts connections. After a postmaster was killed its children need a moment
// to notice, during which a new one refuses to start.
func (c *Cluster) launch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	deadline := time.Now().Add(10 * time.Second)
	for {
		p, ok := c.running()
		if !ok {
			var err error
			if p, err = c.spawn(); err != nil {
				return err
			}
		}
		err := c.waitReady(ctx, p)
		if err == nil {
			c.mu.Lock()
			c.process = p
			stopping := c.stopping
			c.mu.Unlock()
			if stopping {
				return p.stop()
			}
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (c *Cluster) messages() string { return filepath.Join(c.place.base, "start.log") }

// spawn starts the postmaster as a child, which outlives a killed Hearth.
func (c *Cluster) spawn() (postmaster, error) {
	out, err := os.Create(c.messages())
	if err != nil {
		return postmaster{}, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	defer out.Close()
	cmd := c.command(context.Background(), "postgres", "-D", c.place.cluster)
	cmd.Cancel, cmd.Stdout, cmd.Stderr = nil, out, out
	if c.o.Throwaway {
		cmd.SysProcAttr.Pdeathsig = syscall.SIGQUIT
	}
	p := postmaster{exited: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The death signal is that of the thread that started the process: keep it.
		runtime.LockOSThread()
		err := cmd.Start()
		if err == nil {
			p.pid = cmd.Process.Pid
		}
		started <- err
		if err == nil {
			cmd.Wait() // how it ended stands in its log
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return postmaster{}, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	return p, nil
}

// waitReady waits until the cluster accepts connections.
func (c *Cluster) waitReady(ctx context.Context, p postmaster) error {
	db, err := sql.Open("postgres", c.connString("postgres"))
	if err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer db.Close()
	for {
		if err = db.PingContext(ctx); err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return fmt.Errorf("PostgreSQL didn't start; it says:\n%s", tail(c.messages(), 2000))
		case <-ctx.Done():
			return fmt.Errorf("PostgreSQL doesn't accept connections: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail returns the end of a file.
func tail(path string, n int) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-n):])
}

// createDatabase makes Hearth's database in a new cluster.
func (c *Cluster) createDatabase(ctx context.Context) error {
	db, err := sql.Open("postgres", c.connString("postgres"))
	if err != nil {
		return fmt.Errorf("connecting to PostgreSQL: %w", err)
	}
	defer db.Close()
	var exists bool
	if err := db.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = 'hearth')`).Scan(&exists); err != nil {
		return fmt.Errorf("looking for the database: %w", err)
	}
	if exists {
		return nil
	}
	if _, err := db.ExecContext(ctx, `CREATE DATABASE hearth`); err != nil {
		return fmt.Errorf("creating the database: %w", err)
	}
	return nil
}
