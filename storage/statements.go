package storage

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// statements prepares each query once and keeps it: lib/pq spends an extra round
// trip on an unprepared statement with parameters. Queries are constants, so the
// map is bounded by the program's text.
type statements struct {
	pool *sql.DB
	mu   sync.Mutex
	byQ  map[string]*sql.Stmt
	// preparing has the queries that are prepared for whom can't wait for it.
	preparing map[string]bool
}

func newStatements(pool *sql.DB) *statements {
	return &statements{pool: pool, byQ: map[string]*sql.Stmt{}, preparing: map[string]bool{}}
}

func (s *statements) known(query string) *sql.Stmt {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byQ[query]
}

// get returns the prepared statement for query. The first time it waits for a
// connection: the caller must not hold one.
func (s *statements) get(ctx context.Context, query string) (*sql.Stmt, error) {
	if st := s.known(query); st != nil {
		return st, nil
	}
	st, err := s.pool.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("preparing a statement: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if first := s.byQ[query]; first != nil {
		st.Close() // somebody was faster
		return first, nil
	}
	s.byQ[query] = st
	return st, nil
}

// within returns the statement bound to a transaction. That holds a connection, and
// waiting for another one, as everybody else may, would be waiting for ever: a query
// that isn't known yet is prepared for this transaction only, and for others meanwhile.
func (s *statements) within(ctx context.Context, tx *sql.Tx, query string) (*sql.Stmt, error) {
	s.mu.Lock()
	st := s.byQ[query]
	if st == nil && !s.preparing[query] {
		s.preparing[query] = true
		go s.prepare(query)
	}
	s.mu.Unlock()
	if st != nil {
		return tx.StmtContext(ctx, st), nil
	}
	st, err := tx.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("preparing a statement: %w", err)
	}
	return st, nil
}

// prepareWithin bounds how long a query waits to be prepared for later.
const prepareWithin = time.Minute

func (s *statements) prepare(query string) {
	ctx, cancel := context.WithTimeout(context.Background(), prepareWithin)
	defer cancel()
	_, _ = s.get(ctx, query) // without success the next one tries
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.preparing, query)
}

// statement returns the prepared statement, bound to the transaction if there is one.
func (db *DB) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if db.tx != nil {
		return db.stmts.within(ctx, db.tx, query)
	}
	return db.stmts.get(ctx, query)
}

// query runs a constant query through its prepared statement.
func (db *DB) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	st, err := db.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return st.QueryContext(ctx, args...)
}

// scanRow runs a constant query for one row through its prepared statement.
func (db *DB) scanRow(ctx context.Context, query string, args []any, dest ...any) error {
	st, err := db.statement(ctx, query)
	if err != nil {
		return err
	}
	return st.QueryRowContext(ctx, args...).Scan(dest...)
}

// exec runs a constant statement through its prepared form and returns the
// number of rows it touched.
func (db *DB) exec(ctx context.Context, query string, args ...any) (int64, error) {
	st, err := db.statement(ctx, query)
	if err != nil {
		return 0, err
	}
	res, err := st.ExecContext(ctx, args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// collect scans every row of a query with scan.
func collect[T any](rows *sql.Rows, err error, scan func(*sql.Rows) (T, error)) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}
