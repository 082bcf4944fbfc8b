// Package storage keeps everything Hearth remembers in one PostgreSQL database:
// the ordered stream and what hangs on it. One file per kind of thing, plain SQL
// beside the method that runs it. It knows none of Matrix's rules.
package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/lib/pq"
)

// ErrNotFound is returned by every Get… that finds no row.
var ErrNotFound = errors.New("not found")

// DB is the database. All methods are safe for concurrent use.
type DB struct {
	sql    *sql.DB
	stmts  *statements
	log    *slog.Logger
	ids    *idAllocator
	Stream *Stream
	// keyCounts is what devices have in stock, see GetKeyCounts.
	keyCounts *keyCounts
	// tx, if set, is what statements run in; see snapshot.
	tx *sql.Tx
}

// Options of Open.
type Options struct {
	// MaxConnections bounds the connection pool; 0 means 20.
	MaxConnections int
	Logger         *slog.Logger
}

// Open connects to the database named by the lib/pq connection string dsn,
// brings its schema up to date, and starts the stream's writer. It refuses a
// database whose schema is newer than this program.
func Open(ctx context.Context, dsn string, opts Options) (*DB, error) {
	if opts.MaxConnections == 0 {
		opts.MaxConnections = 20
	}
	if opts.Logger == nil {
		opts.Logger = slog.Default()
	}
	pool, err := sql.Open("postgres", dsn)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", err)
	}
	// As many idle as open connections: churn costs a fork in PostgreSQL each time.
	pool.SetMaxOpenConns(opts.MaxConnections)
	pool.SetMaxIdleConns(opts.MaxConnections)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	if err := migrate(ctx, pool); err != nil {
		pool.Close()
		return nil, err
	}
	db := &DB{sql: pool, stmts: newStatements(pool), log: opts.Logger, keyCounts: newKeyCounts()}
	db.ids = newIDAllocator(db)
	if db.Stream, err = newStream(ctx, db); err != nil {
		pool.Close()
		return nil, err
	}
	return db, nil
}

// Close waits for what is queued on the stream to be written, then disconnects.
func (db *DB) Close() error {
	db.Stream.close()
	return db.sql.Close()
}

// Ping reports whether the database answers.
func (db *DB) Ping(ctx context.Context) error { return db.sql.PingContext(ctx) }

// inTx runs f in a transaction and commits it if f returns nil.
func (db *DB) inTx(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := db.sql.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	defer tx.Rollback()
	if err := f(tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	return nil
}

// snapshot runs f on a DB whose reads all see the database at one moment.
func (db *DB) snapshot(ctx context.Context, f func(db *DB) error) error {
	tx, err := db.sql.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return fmt.Errorf("beginning to read: %w", err)
	}
	defer tx.Rollback()
	at := *db
	at.tx = tx
	return f(&at)
}

// IsUniqueViolation reports whether err is PostgreSQL's refusal of a second row
// with the same key.
func IsUniqueViolation(err error) bool {
	var pe *pq.Error
	return errors.As(err, &pe) && pe.Code == "23505"
}

// notFound turns sql.ErrNoRows into ErrNotFound and wraps everything else. What was looked for by a text that
// can't be stored isn't there either.
func notFound(doing string, err error) error {
	if err == nil {
		return nil
	}
	var pe *pq.Error
	if errors.Is(err, sql.ErrNoRows) || errors.As(err, &pe) && pe.Code == "22021" {
		return ErrNotFound
	}
	return fmt.Errorf("%s: %w", doing, err)
}
