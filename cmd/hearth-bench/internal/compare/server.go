package compare

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"hearth/cmd/hearth-bench/internal/pgstat"
	"hearth/cmd/hearth-bench/internal/procfs"
	"hearth/cmd/hearth-bench/internal/scenario"
	"hearth/cmd/hearth-bench/internal/wire"
	"hearth/internal/postgres"
)

// secret is the shared registration secret of every server that is compared.
const secret = "hearth-bench"

// serverName is the name of every homeserver that is compared.
const serverName = "bench.localhost"

// connections is how many connections to its database each server may keep.
// PostgreSQL's own limit, 60 in Hearth's private clusters, leaves some over.
const connections = 50

// Server is a homeserver to measure, on a PostgreSQL cluster of its own with
// Hearth's durable settings. Nothing of it runs until start.
type Server struct {
	Name string
	dir  string // holds its cluster, files, log and what scenarios prepared
	addr string // host:port of its client API
	// configure writes what the server needs into dir and returns the command.
	configure func(ctx context.Context, s *Server, database string) ([]string, error)

	cluster *postgres.Cluster
	db      *pgstat.DB
	process *Process
	log     *os.File
}

// start starts the cluster and then the server.
func (s *Server) start(ctx context.Context) (err error) {
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	if s.cluster, err = postgres.Start(ctx, postgres.Options{DataDir: s.dir, Logger: quiet}); err != nil {
		return fmt.Errorf("start the database of %s: %w", s.Name, err)
	}
	if s.db, err = pgstat.Open(ctx, s.cluster.ConnString()); err != nil {
		return err
	}
	return s.startProcess(ctx, s.cluster.ConnString())
}

// startProcess starts the server alone, on the given database.
func (s *Server) startProcess(ctx context.Context, database string) error {
	target, err := wire.ParseTarget(ctx, "http://"+s.addr)
	if err != nil {
		return err
	}
	argv, err := s.configure(ctx, s, database)
	if err != nil {
		return fmt.Errorf("configure %s: %w", s.Name, err)
	}
	if s.log, err = os.OpenFile(s.file("server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		return fmt.Errorf("start %s: %w", s.Name, err)
	}
	if s.process, err = StartProcess(ctx, target, argv, ProcessOptions{Dir: s.dir, Log: s.log}); err != nil {
		return fmt.Errorf("%w (%s)", err, s.log.Name())
	}
	return nil
}

func (s *Server) file(name string) string { return filepath.Join(s.dir, name) }

// stop stops whatever of the server runs.
func (s *Server) stop() error {
	var errs []error
	if s.process != nil {
		errs = append(errs, s.process.Stop())
	}
	if s.log != nil {
		errs = append(errs, s.log.Close())
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
	}
	if s.cluster != nil {
		errs = append(errs, s.cluster.Stop())
	}
	s.process, s.log, s.db, s.cluster = nil, nil, nil, nil
	return errors.Join(errs...)
}

// env is the running server as scenarios see it.
func (s *Server) env(ctx context.Context, o scenario.Options, log func(string, ...any)) (*scenario.Env, error) {
	target, err := wire.ParseTarget(ctx, "http://"+s.addr)
	if err != nil {
		return nil, err
	}
	postmaster, err := s.db.Postmaster(ctx)
	if err != nil {
		return nil, err
	}
	o.SharedSecret = secret
	return scenario.Open(ctx, scenario.Env{
		Options: o, Target: target, DB: s.db, Log: log,
		Watch: procfs.Watch{Server: []int{s.process.PID()}, Database: postmaster},
	}, s.file("prepared.json"))
}

// startTimes is how often a start is timed; the figure is the median.
const startTimes = 3

// timeStarts restarts the server and tells how long it takes to its first
// answer.
func (s *Server) timeStarts(ctx context.Context, database string) ([]time.Duration, error) {
	var took []time.Duration
	for range startTimes {
		if s.process != nil {
			if err := s.process.Stop(); err != nil {
				return nil, err
			}
			s.process = nil
			if err := s.log.Close(); err != nil {
				return nil, err
			}
			s.log = nil
		}
		if err := s.startProcess(ctx, database); err != nil {
			return nil, err
		}
		took = append(took, s.process.StartTime)
	}
	return took, nil
}
