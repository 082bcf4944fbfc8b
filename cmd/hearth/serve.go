package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"hearth/internal/config"
	"hearth/internal/httpapi"
)

const serveHelp = `Runs the homeserver in the foreground and logs to standard error. SIGTERM or
SIGINT ends it: requests are finished, what is queued is written, the private
PostgreSQL is stopped.`

// stopWithin bounds how long requests may take to end once the program is to stop.
const stopWithin = 3 * time.Second

func (m *Main) serve(ctx context.Context, c command, args []string) error {
	fs := m.flags(c)
	load := m.configFlag(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	log := m.logger(cfg)
	unlock, err := lockDataDir(cfg.DataDir)
	if err != nil {
		return err
	}
	defer unlock()
	// Bind first: a port that is taken is said at once, and before anything starts.
	l, err := bind(cfg)
	if err != nil {
		return err
	}
	defer l.close()
	s, err := newServer(ctx, cfg, log)
	if err != nil {
		return err
	}
	go watchMemory(ctx, int64(cfg.Cache.Budget))
	err = l.serve(ctx, s, func() { announce(log, cfg, l, fs.Lookup("config").Value.String()) })
	return errors.Join(err, s.close())
}

func (m *Main) logger(cfg *config.Config) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cfg.Logging.Level)); err != nil {
		level = slog.LevelInfo // config allows no others
	}
	o := &slog.HandlerOptions{Level: level}
	var h slog.Handler = slog.NewTextHandler(m.Stderr, o)
	if cfg.Logging.Format == "json" {
		h = slog.NewJSONHandler(m.Stderr, o)
	}
	log := slog.New(h)
	slog.SetDefault(log)
	redirectLibraryLog(log)
	return log
}

// announce says that the server is ready, and how to go on from here.
func announce(log *slog.Logger, cfg *config.Config, l *listeners, configFile string) {
	registration := "off"
	if cfg.Registration.Enabled {
		registration = "on"
	}
	ready := []any{"server_name", cfg.ServerName, "version", versionName(), "client", "http://" + l.client.Addr().String(), "registration", registration}
	if l.federation != nil {
		ready = append(ready, "federation", "https://"+l.federation.Addr().String())
	}
	if l.metrics != nil {
		ready = append(ready, "metrics", "http://"+l.metrics.Addr().String()+"/metrics")
	}
	log.Info("ready", ready...)
	program, err := os.Executable()
	if err != nil {
		program = "hearth"
	}
	log.Info("to make an account: " + program + " create-user --config " + configFile + " --username NAME --admin")
}

// lockDataDir makes sure that no other Hearth works in the data directory.
func lockDataDir(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "hearth.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("another Hearth is running in the data directory %s: stop it first, or give this one a data_dir of its own", dir)
	}
	return func() { f.Close() }, nil
}

// listeners are what the server listens on.
type listeners struct {
	client              net.Listener
	federation, metrics net.Listener // may be nil
}

func bind(cfg *config.Config) (*listeners, error) {
	var l listeners
	var err error
	if l.client, err = net.Listen("tcp", cfg.Listen.Client); err != nil {
		return nil, fmt.Errorf("listening for clients (listen.client): %w", err)
	}
	if cfg.Federation.Enabled && cfg.Listen.Federation != "" {
		if l.federation, err = net.Listen("tcp", cfg.Listen.Federation); err != nil {
			l.close()
			return nil, fmt.Errorf("listening for other servers (listen.federation): %w", err)
		}
	}
	if cfg.Listen.Metrics != "" {
		if l.metrics, err = net.Listen("tcp", cfg.Listen.Metrics); err != nil {
			l.close()
			return nil, fmt.Errorf("listening for metrics (listen.metrics): %w", err)
		}
	}
	return &l, nil
}

func (l *listeners) close() {
	for _, open := range []net.Listener{l.client, l.federation, l.metrics} {
		if open != nil {
			open.Close()
		}
	}
}

// serve answers requests until ctx ends or a listener fails. Then no more are
// taken, long polls are ended, and the others get a moment to finish.
func (l *listeners) serve(ctx context.Context, s *server, ready func()) error {
	client := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		// No WriteTimeout: a long poll may take minutes, and a slow reader holds
		// nothing but its own buffer.
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 32 << 10,
	}
	parking := httpapi.NewParking(l.client.Addr())
	client.ConnContext = parking.ConnContext
	failed := make(chan error, 4)
	go func() { failed <- client.Serve(l.client) }()
	go func() { failed <- client.Serve(parking) }()
	federation := federationServer(s)
	if l.federation != nil {
		go func() { failed <- federation.ServeTLS(l.federation, "", "") }()
	}
	if l.metrics != nil {
		metrics := &http.Server{Handler: s.metrics, ReadHeaderTimeout: 10 * time.Second}
		go func() { failed <- metrics.Serve(l.metrics) }()
		defer metrics.Close()
	}
	ready()
	var err error
	select {
	case <-ctx.Done():
		s.log.Info("stopping")
	case err = <-failed:
		err = fmt.Errorf("serving: %w", err)
	}
	s.endLongPolls()
	parking.ResumeAll()
	stop, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	for _, server := range []*http.Server{federation, client} {
		if server.Shutdown(stop) != nil {
			server.Close()
		}
	}
	return err
}
