// Package pgstat reads PostgreSQL's own account of the work it did, from its
// statistics views.
package pgstat

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"strings"

	_ "github.com/lib/pq" // the driver
)

// DB is a connection to the database of a measured server.
type DB struct{ db *sql.DB }

// Work is what a database did up to one moment. PostgreSQL's processes report
// at most once a second, so the difference between two readings is off by what
// happens in a second.
type Work struct {
	Transactions int64 // committed in this database
	WALRecords   int64 // of the whole cluster
	WALBytes     int64
	WALSyncs     int64
	Size         int64 // bytes on disk, all tables and indexes
}

// Open connects.
func Open(ctx context.Context, connString string) (*DB, error) {
	db, err := sql.Open("postgres", connString)
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	db.SetMaxOpenConns(1)
	if err := db.PingContext(ctx); err != nil {
		_ = db.Close()
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	return &DB{db}, nil
}

// Close disconnects.
func (d *DB) Close() error { return d.db.Close() }

// Read reads the statistics.
func (d *DB) Read(ctx context.Context) (w Work, err error) {
	err = d.db.QueryRowContext(ctx, `
		SELECT xact_commit, wal_records, wal_bytes::bigint, wal_sync, pg_database_size(current_database())
		FROM pg_stat_database, pg_stat_wal
		WHERE datname = current_database()`,
	).Scan(&w.Transactions, &w.WALRecords, &w.WALBytes, &w.WALSyncs, &w.Size)
	if err != nil {
		return w, fmt.Errorf("read PostgreSQL's statistics: %w", err)
	}
	return w, nil
}

// Postmaster returns the process ID of the cluster's postmaster, which must run
// on this machine.
func (d *DB) Postmaster(ctx context.Context) (int, error) {
	var backend int
	if err := d.db.QueryRowContext(ctx, `SELECT pg_backend_pid()`).Scan(&backend); err != nil {
		return 0, fmt.Errorf("find the postmaster: %w", err)
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", backend))
	if err != nil {
		return 0, fmt.Errorf("find the postmaster: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if parent, ok := strings.CutPrefix(line, "PPid:"); ok {
			return strconv.Atoi(strings.TrimSpace(parent))
		}
	}
	return 0, fmt.Errorf("find the postmaster: process %d has no parent", backend)
}
