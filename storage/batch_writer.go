package storage

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/lib/pq"
)

// batchWriter writes batches over a connection of its own.
type batchWriter struct {
	db    *DB
	conn  *sql.Conn
	stmts map[string]*sql.Stmt
	// position is the stream's head after the last batch.
	position Position
	// forgotTxns is when old transactions were last forgotten.
	forgotTxns time.Time
}

// reconnectFor bounds how long a batch waits for a database that went away.
const reconnectFor = 20 * time.Second

// write commits the batch. Room changes that lost their race have their ticket's
// err set; the error returned concerns the whole batch. If the connection breaks,
// it finds out whether the commit went through before it tries again, so that
// nothing is written twice and nothing acknowledged is lost.
func (w *batchWriter) write(batch []*Ticket) error {
	p := newPlan(batch)
	deadline := time.Now().Add(reconnectFor)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		err := w.try(p)
		if err == nil || isDataError(err) || time.Now().After(deadline) {
			return err
		}
		w.db.log.Warn("the database went away while writing; trying again", "err", err)
		w.disconnect()
		time.Sleep(pause)
		if committed, err := w.alreadyCommitted(p); err == nil && committed {
			return nil
		}
	}
}

func (w *batchWriter) try(p *plan) error {
	ctx := context.Background()
	if err := w.connect(ctx); err != nil {
		return err
	}
	if p.onlyMessages() {
		return w.writeRooms(ctx, p)
	}
	return inConnTx(ctx, w.conn, func() error { return w.writeAll(ctx, p) })
}

func (w *batchWriter) writeAll(ctx context.Context, p *plan) error {
	if len(p.rooms) == 0 {
		if err := w.drawPositions(ctx, p); err != nil {
			return err
		}
	} else {
		if err := w.createRooms(ctx, p); err != nil {
			return err
		}
		if err := w.writeRooms(ctx, p); err != nil {
			return err
		}
		if err := w.writeState(ctx, p); err != nil {
			return err
		}
	}
	return w.writeUserData(ctx, p)
}

func (w *batchWriter) drawPositions(ctx context.Context, p *plan) error {
	var base int64
	err := w.queryRow(ctx, `UPDATE stream_head SET position = position + $1 RETURNING position - $1`, []any{p.positions}, &base)
	if err != nil {
		return fmt.Errorf("drawing positions: %w", err)
	}
	p.setBase(base)
	w.position = base + p.positions
	return nil
}

func (w *batchWriter) connect(ctx context.Context) error {
	if w.conn != nil {
		return nil
	}
	conn, err := w.db.sql.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connecting the stream's writer: %w", err)
	}
	w.conn, w.stmts = conn, map[string]*sql.Stmt{}
	return nil
}

// disconnect throws the connection away rather than back into the pool: its
// state is unknown.
func (w *batchWriter) disconnect() {
	if w.conn == nil {
		return
	}
	for _, st := range w.stmts {
		st.Close()
	}
	w.conn.Raw(func(any) error { return driver.ErrBadConn })
	w.conn.Close()
	w.conn = nil
}

func (w *batchWriter) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	if st := w.stmts[query]; st != nil {
		return st, nil
	}
	st, err := w.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	w.stmts[query] = st
	return st, nil
}

func (w *batchWriter) queryRow(ctx context.Context, query string, args []any, dest ...any) error {
	st, err := w.prepare(ctx, query)
	if err != nil {
		return err
	}
	return st.QueryRowContext(ctx, args...).Scan(dest...)
}

func (w *batchWriter) exec(ctx context.Context, doing, query string, args ...any) error {
	st, err := w.prepare(ctx, query)
	if err == nil {
		_, err = st.ExecContext(ctx, args...)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

// alreadyCommitted finds out, after a broken connection, whether the batch was
// committed after all: its events then are there, with their positions, or a room has got
// its members. Another batch is simply written again, which has the same effect.
func (w *batchWriter) alreadyCommitted(p *plan) (bool, error) {
	completed := p.completed()
	if len(p.events)+len(p.placed) == 0 && completed == nil {
		return false, nil
	}
	ctx := context.Background()
	if err := w.connect(ctx); err != nil {
		return false, err
	}
	var want []int64
	for _, e := range p.events {
		want = append(want, e.NID)
	}
	var placed []int64
	for _, e := range p.placed {
		placed = append(placed, e.NID)
	}
	rows, err := w.conn.QueryContext(ctx, `
		SELECT nid, room_nid, coalesce(position, 0) FROM events
		WHERE nid = ANY($1) OR nid = ANY($2) AND position IS NOT NULL`, nids(want), nids(placed))
	type found struct{ nid, room, position int64 }
	list, err := collect(rows, err, func(r *sql.Rows) (f found, err error) {
		return f, r.Scan(&f.nid, &f.room, &f.position)
	})
	if err == nil && completed != nil {
		var whole, room int64
		err = w.queryRow(ctx, `SELECT coalesce(max(p.whole_at), 0), coalesce(max(r.nid), 0)
			FROM rooms r JOIN partial_rooms p ON p.room_nid = r.nid WHERE r.nid = $1 AND r.version = $2`,
			[]any{completed.Room.NID, completed.Room.Version}, &whole, &room)
		if whole > 0 {
			p.setBase(whole - completed.offset)
			list = append(list, found{room: room})
		}
	}
	if err != nil || len(list) == 0 {
		return false, err
	}
	moved := map[int64]bool{}
	for _, f := range list {
		moved[f.room] = true
		if f.position != 0 {
			p.setBase(f.position - p.offsets[f.nid])
		}
	}
	w.position = p.base + p.positions
	return true, w.failOvertaken(ctx, p, moved)
}

// IsOutage reports whether something failed because the database is away, or on its way up or
// down: what was asked may succeed later.
func IsOutage(err error) bool {
	return err != nil && !isDataError(err) && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// isDataError reports whether PostgreSQL answered and refused what was written,
// as opposed to having gone away or being on its way up or down.
func isDataError(err error) bool {
	var pe *pq.Error
	if errors.As(err, &pe) {
		switch pe.Code.Class() {
		case "08", "53", "57", "58", "XX", "40", "25":
			return false
		}
		return true
	}
	var ne net.Error
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &ne) {
		return false
	}
	return true
}
