package storage

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
)

// statements prepares each query once and keeps it: lib/pq spends an extra round
// trip on an unprepared statement with parameters. Queries are constants, so the
// map is bounded by the program's text.
type statements struct {
	pool *sql.DB
	mu   sync.RWMutex
	byQ  map[string]*sql.Stmt
}

func newStatements(pool *sql.DB) *statements {
	return &statements{pool: pool, byQ: map[string]*sql.Stmt{}}
}

// get returns the prepared statement for query.
func (s *statements) get(ctx context.Context, query string) (*sql.Stmt, error) {
	s.mu.RLock()
	st := s.byQ[query]
	s.mu.RUnlock()
	if st != nil {
		return st, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.byQ[query]; st != nil {
		return st, nil
	}
	st, err := s.pool.PrepareContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("preparing a statement: %w", err)
	}
	s.byQ[query] = st
	return st, nil
}

// statement returns the prepared statement, bound to the transaction if there is one.
func (db *DB) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	st, err := db.stmts.get(ctx, query)
	if err == nil && db.tx != nil {
		st = db.tx.StmtContext(ctx, st)
	}
	return st, err
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
