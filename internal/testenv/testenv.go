// Package testenv gives tests a real PostgreSQL: a throw-away cluster per test
// binary, started when the first test asks for it, or the server that
// HEARTH_TEST_DATABASE names.
package testenv

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	_ "github.com/lib/pq" // the driver

	"hearth/internal/postgres"
	"hearth/storage"
)

// server is the PostgreSQL of this test binary.
var server = sync.OnceValues(start)

// instance is a server and a database on it that has all migrations.
type instance struct {
	dsn      string // without dbname
	template string
}

func start() (*instance, error) {
	s := &instance{template: "hearth_test_" + strings.ToLower(rand.Text())}
	if s.dsn = os.Getenv("HEARTH_TEST_DATABASE"); s.dsn == "" {
		sweep()
		dir, err := os.MkdirTemp("", fmt.Sprintf("hearth-test-%d-", os.Getpid()))
		if err == nil {
			err = os.Chmod(dir, 0o755) // root's cluster belongs to somebody else
		}
		if err != nil {
			return nil, err
		}
		c, err := postgres.Start(context.Background(), postgres.Options{
			DataDir: dir, Throwaway: true, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			return nil, err
		}
		s.dsn = strings.ReplaceAll(c.ConnString(), " dbname=hearth", "")
	}
	if err := s.exec("CREATE DATABASE " + s.template + " TEMPLATE template0 LOCALE 'C' ENCODING 'UTF8'"); err != nil {
		return nil, err
	}
	db, err := storage.Open(context.Background(), s.name(s.template), storage.Options{MaxConnections: 2})
	if err != nil {
		return nil, err
	}
	return s, db.Close()
}

// sweep removes what test binaries that were killed left behind.
func sweep() {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), "hearth-test-*")) // the pattern is well-formed
	for _, dir := range dirs {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), "hearth-test-"), "-")
		if _, err := strconv.Atoi(pid); err != nil {
			continue
		}
		if _, err := os.Stat("/proc/" + pid); os.IsNotExist(err) {
			os.RemoveAll(dir)
		}
	}
}

func (s *instance) name(database string) string { return s.dsn + " dbname=" + database }

func (s *instance) exec(statement string) error { return exec(s.name("postgres"), statement) }

func exec(dsn, statement string, args ...any) error {
	db, err := sql.Open("postgres", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(statement, args...)
	return err
}

// Exec changes a database behind everybody's back.
func Exec(t testing.TB, dsn, statement string, args ...any) {
	t.Helper()
	if err := exec(dsn, statement, args...); err != nil {
		t.Fatal(err)
	}
}

// Dir returns a directory for a server's data, removed when the test ends. Unlike
// those of testing.T.TempDir it can be reached by the unprivileged user that root's
// PostgreSQL runs as.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", fmt.Sprintf("hearth-test-%d-", os.Getpid()))
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Database returns the connection string of a fresh database that has all
// migrations. It is dropped when the test ends.
func Database(t testing.TB) string {
	t.Helper()
	return database(t, func(s *instance) string { return s.template })
}

// EmptyDatabase returns the connection string of a fresh database without tables. It
// is dropped when the test ends.
func EmptyDatabase(t testing.TB) string {
	t.Helper()
	return database(t, func(*instance) string { return "template0" })
}

func database(t testing.TB, template func(*instance) string) string {
	t.Helper()
	s, err := server()
	if err != nil {
		t.Fatalf("starting PostgreSQL for the tests: %v", err)
	}
	name := "hearth_test_" + strings.ToLower(rand.Text())
	if err := s.exec("CREATE DATABASE " + name + " TEMPLATE " + template(s)); err != nil {
		t.Fatalf("making a database: %v", err)
	}
	t.Cleanup(func() {
		if err := s.exec("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Errorf("dropping a database: %v", err)
		}
	})
	return s.name(name)
}

// Open returns storage on a fresh database, closed when the test ends.
func Open(t testing.TB) *storage.DB {
	t.Helper()
	db, err := storage.Open(context.Background(), Database(t), storage.Options{MaxConnections: 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}
