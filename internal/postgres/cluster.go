// Package postgres keeps Hearth's private PostgreSQL: a cluster in the data
// directory, reached over a unix socket only, started and stopped with the
// process. It never listens on TCP and never touches the system's own clusters.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// Options of Start and Attach.
type Options struct {
	// DataDir is Hearth's data directory; it is made if it isn't there.
	DataDir string
	// Throwaway is for tests: the cluster gives up durability for speed, and dies
	// with the process that started it.
	Throwaway bool
	Logger    *slog.Logger
}

// Cluster is a running private PostgreSQL.
type Cluster struct {
	o     Options
	log   *slog.Logger
	bin   binaries
	owner owner
	place place
	// borrowed marks a cluster that another process runs.
	borrowed bool

	mu       sync.Mutex
	process  postmaster
	stopping bool
	watched  chan struct{} // closed when the supervisor has ended
}

// Start starts the cluster in the data directory, making it first if there is
// none, and keeps it running until Stop. A postmaster that a killed Hearth left
// behind is taken over. Errors are sentences for the administrator.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	c, err := open(o)
	if err != nil {
		return nil, err
	}
	if err := c.initialise(ctx); err != nil {
		return nil, err
	}
	changed, err := c.writeSettings()
	if err != nil {
		return nil, err
	}
	if p, ok := c.running(); ok && changed {
		if err := p.stop(); err != nil {
			return nil, err
		}
	}
	if err := c.launch(ctx); err != nil {
		return nil, err
	}
	if err := c.createDatabase(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	c.watched = make(chan struct{})
	go c.supervise()
	return c, nil
}

// Attach connects a second process, such as a command line tool, to the cluster:
// to the running one if there is one, and otherwise it starts it.
func Attach(ctx context.Context, o Options) (*Cluster, error) {
	c, err := open(o)
	if err != nil {
		return nil, err
	}
	if p, ok := c.running(); ok {
		c.process, c.borrowed = p, true
		return c, c.waitReady(ctx, p)
	}
	return Start(ctx, o)
}

func open(o Options) (*Cluster, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	own, err := clusterOwner()
	if err != nil {
		return nil, err
	}
	p, err := findPlace(o.DataDir, own)
	if err != nil {
		return nil, err
	}
	bin, err := findBinaries(p.cluster)
	if err != nil {
		return nil, err
	}
	return &Cluster{o: o, log: o.Logger, bin: bin, owner: own, place: p}, nil
}

// ConnString returns the lib/pq connection string of Hearth's database.
func (c *Cluster) ConnString() string { return c.connString("hearth") }

func (c *Cluster) connString(database string) string {
	return fmt.Sprintf("host='%s' port=5432 user=hearth dbname=%s sslmode=disable", c.place.socket, database)
}

// Stop shuts the cluster down, waiting at most ten seconds. A cluster that
// another process runs is left alone.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	c.stopping = true
	p := c.process
	c.mu.Unlock()
	if c.borrowed {
		return nil
	}
	err := p.stop()
	if c.watched != nil {
		<-c.watched
	}
	return err
}

// command prepares one of PostgreSQL's programs to run as the cluster's owner,
// in a session of its own so that the terminal's Ctrl-C doesn't reach it.
func (c *Cluster) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.bin.path(name), args...)
	cmd.Dir = c.place.base
	cmd.Env = append(os.Environ(), "LC_ALL=C", "LANG=C")
	cmd.SysProcAttr = sysProcAttr(c.owner.credential)
	return cmd
}

// initialise makes the cluster if there is none. It is made under another name
// and then renamed, so that a crash in the middle leaves nothing half-made.
func (c *Cluster) initialise(ctx context.Context) error {
	if _, exists := clusterMajor(c.place.cluster); exists {
		return nil
	}
	c.log.Info("making the database", "dir", c.place.cluster, "postgresql", c.bin.major)
	fresh := c.place.cluster + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("removing a half-made database: %w", err)
	}
	out, err := c.command(ctx, "initdb", "--pgdata", fresh, "--username", "hearth", "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--data-checksums").CombinedOutput()
	if err != nil {
		return fmt.Errorf("making the database failed: %w\n%s", err, out)
	}
	conf, err := os.OpenFile(filepath.Join(fresh, "postgresql.conf"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("configuring the database: %w", err)
	}
	_, err = conf.WriteString("\n# Hearth rewrites this file at every start.\ninclude '" + settingsFile + "'\n")
	if err := errors.Join(err, conf.Sync(), conf.Close()); err != nil {
		return fmt.Errorf("configuring the database: %w", err)
	}
	if err := os.Rename(fresh, c.place.cluster); err != nil {
		return fmt.Errorf("putting the database in place: %w", err)
	}
	return nil
}

// supervise starts PostgreSQL again when it dies while Hearth runs.
func (c *Cluster) supervise() {
	defer close(c.watched)
	pause := 100 * time.Millisecond
	for {
		c.mu.Lock()
		p := c.process
		c.mu.Unlock()
		started := time.Now()
		<-p.exited
		c.mu.Lock()
		stopping := c.stopping
		c.mu.Unlock()
		if stopping {
			return
		}
		if time.Since(started) > time.Minute {
			pause = 100 * time.Millisecond
		}
		c.log.Error("PostgreSQL has died; starting it again", "after", pause)
		time.Sleep(pause)
		pause = min(2*pause, 30*time.Second)
		if err := c.launch(context.Background()); err != nil {
			c.log.Error("PostgreSQL didn't start", "err", err)
		}
	}
}
