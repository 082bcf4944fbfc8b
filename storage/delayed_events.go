package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// DelayedEvent is an event that is to be sent later, or what became of one.
type DelayedEvent struct {
	ID string
	// Request names the request that asked for it, so that the same one again adds
	// nothing; nil if it can't be repeated.
	Request              []byte
	UserID, RoomID, Type string
	// StateKey makes it a state event.
	StateKey *string
	Content  json.RawMessage
	// StickyMS, if not nil, is for how many milliseconds it will be sticky.
	StickyMS *int64
	Delay    time.Duration
	// ScheduledAt is when it was scheduled or restarted, and DueAt when it is tried
	// next.
	ScheduledAt, DueAt time.Time
	// FinalisedAt is when it was sent, failed or was cancelled; zero until then.
	FinalisedAt time.Time
	// EventID is what was sent, and Error why nothing was; both are empty if it was
	// cancelled.
	EventID string
	Error   json.RawMessage
}

const delayedColumns = ` delay_id, user_id, room_id, type, state_key, content, sticky_ms, delay_ms, scheduled_at, due_at, finalised_at, event_id, error `

func scanDelayed(r *sql.Rows) (e DelayedEvent, err error) {
	var stateKey sql.NullString
	var finalised sql.NullTime
	var ms int64
	err = r.Scan(&e.ID, &e.UserID, &e.RoomID, &e.Type, &stateKey, (*[]byte)(&e.Content), &e.StickyMS, &ms, &e.ScheduledAt, &e.DueAt,
		&finalised, &e.EventID, (*[]byte)(&e.Error))
	if stateKey.Valid {
		e.StateKey = &stateKey.String
	}
	e.Delay, e.FinalisedAt = time.Duration(ms)*time.Millisecond, finalised.Time
	return e, err
}

// AddDelayedEvent schedules an event, unless its user has most already; then it
// returns false. Of the user's that are done with it keeps the newest past.
func (db *DB) AddDelayedEvent(ctx context.Context, e *DelayedEvent, most, past int) (bool, error) {
	if _, err := db.exec(ctx, `
		DELETE FROM delayed_events WHERE delay_id IN (
			SELECT delay_id FROM delayed_events WHERE user_id = $1 AND finalised_at IS NOT NULL ORDER BY finalised_at DESC OFFSET $2)`,
		e.UserID, past); err != nil {
		return false, fmt.Errorf("forgetting delayed events: %w", err)
	}
	n, err := db.exec(ctx, `
		INSERT INTO delayed_events (delay_id, request, user_id, room_id, type, state_key, content, delay_ms, scheduled_at, due_at, sticky_ms)
		SELECT $1::text, nullif($2::bytea, ''), $3::text, $4::text, $5::text, $6::text, $7::text, $8::bigint, $9::timestamptz, $10::timestamptz, $12::bigint
		WHERE (SELECT count(*) FROM delayed_events WHERE user_id = $3 AND finalised_at IS NULL) < $11`,
		e.ID, e.Request, e.UserID, e.RoomID, e.Type, e.StateKey, string(e.Content), e.Delay.Milliseconds(), e.ScheduledAt, e.DueAt, most, e.StickyMS)
	if err != nil {
		return false, fmt.Errorf("scheduling an event: %w", err)
	}
	return n > 0, nil
}

// DelayedEventOfRequest returns the id of what a request has scheduled before, "" for
// nothing.
func (db *DB) DelayedEventOfRequest(ctx context.Context, request []byte) (id string, err error) {
	err = db.scanRow(ctx, `SELECT delay_id FROM delayed_events WHERE request = $1`, []any{request}, &id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("looking for a delayed event: %w", err)
	}
	return id, nil
}

// GetDelayedEvent returns a delayed event, or ErrNotFound.
func (db *DB) GetDelayedEvent(ctx context.Context, id string) (*DelayedEvent, error) {
	rows, err := db.query(ctx, `SELECT`+delayedColumns+`FROM delayed_events WHERE delay_id = $1`, id)
	list, err := collect(rows, err, scanDelayed)
	if err != nil {
		return nil, fmt.Errorf("reading a delayed event: %w", err)
	}
	if len(list) == 0 {
		return nil, ErrNotFound
	}
	return &list[0], nil
}

// ListDelayedEvents returns what a user has scheduled, up to limit, the next first.
func (db *DB) ListDelayedEvents(ctx context.Context, userID string, limit int) ([]DelayedEvent, error) {
	rows, err := db.query(ctx, `SELECT`+delayedColumns+`FROM delayed_events
		WHERE user_id = $1 AND finalised_at IS NULL ORDER BY due_at, delay_id LIMIT $2`, userID, limit)
	list, err := collect(rows, err, scanDelayed)
	if err != nil {
		return nil, fmt.Errorf("listing delayed events: %w", err)
	}
	return list, nil
}

// DueDelayedEvents returns up to limit events, of everybody, that are due, the first
// first; only their ids and rooms are filled in.
func (db *DB) DueDelayedEvents(ctx context.Context, now time.Time, limit int) ([]DelayedEvent, error) {
	rows, err := db.query(ctx, `
		SELECT delay_id, room_id FROM delayed_events WHERE finalised_at IS NULL AND due_at <= $1 ORDER BY due_at, delay_id LIMIT $2`,
		now, limit)
	list, err := collect(rows, err, func(r *sql.Rows) (e DelayedEvent, err error) { return e, r.Scan(&e.ID, &e.RoomID) })
	if err != nil {
		return nil, fmt.Errorf("looking for events that are due: %w", err)
	}
	return list, nil
}

// NextDelayedEvent returns when the next of everybody's events is due, the zero time
// if there is none.
func (db *DB) NextDelayedEvent(ctx context.Context) (time.Time, error) {
	var next sql.NullTime
	err := db.scanRow(ctx, `SELECT min(due_at) FROM delayed_events WHERE finalised_at IS NULL`, nil, &next)
	if err != nil {
		return time.Time{}, fmt.Errorf("looking for the next event to send: %w", err)
	}
	return next.Time, nil
}

// RestartDelayedEvent makes a scheduled event wait its whole delay from now on.
func (db *DB) RestartDelayedEvent(ctx context.Context, id string, now time.Time) error {
	n, err := db.exec(ctx, `
		UPDATE delayed_events SET scheduled_at = $2, due_at = $2::timestamptz + delay_ms * interval '1 ms'
		WHERE delay_id = $1 AND finalised_at IS NULL`, id, now)
	return oneRow("restarting a delayed event", n, err)
}

// PostponeDelayedEvent has a scheduled event tried again later.
func (db *DB) PostponeDelayedEvent(ctx context.Context, id string, due time.Time) error {
	n, err := db.exec(ctx, `UPDATE delayed_events SET due_at = $2 WHERE delay_id = $1 AND finalised_at IS NULL`, id, due)
	return oneRow("postponing a delayed event", n, err)
}

// FinaliseDelayedEvent notes what became of a scheduled event: what was sent, why it
// couldn't be, or with neither that it was cancelled.
func (db *DB) FinaliseDelayedEvent(ctx context.Context, id string, at time.Time, eventID string, failure json.RawMessage) error {
	n, err := db.exec(ctx, `
		UPDATE delayed_events SET finalised_at = $2, event_id = $3, error = $4 WHERE delay_id = $1 AND finalised_at IS NULL`,
		id, at, eventID, string(failure))
	return oneRow("noting what became of a delayed event", n, err)
}

// ForgetDelayedEvents removes what was done with before a time.
func (db *DB) ForgetDelayedEvents(ctx context.Context, before time.Time) error {
	if _, err := db.exec(ctx, `DELETE FROM delayed_events WHERE finalised_at < $1`, before); err != nil {
		return fmt.Errorf("forgetting delayed events: %w", err)
	}
	return nil
}
