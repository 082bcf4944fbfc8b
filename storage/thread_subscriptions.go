package storage

import (
	"context"
	"database/sql"
	"fmt"
)

// ThreadSubscription is whether a user wants to hear of a thread.
type ThreadSubscription struct {
	Position Position
	UserID   string
	RoomNID  int64
	// RoomID is not stored.
	RoomID   string
	ThreadID string
	// Subscribed is whether they do, and Automatic whether their client decided that.
	Subscribed, Automatic bool
}

const threadSubscriptionColumns = ` t.position, t.user_id, t.room_nid, r.room_id, t.thread_id, t.subscribed, t.automatic `

func scanThreadSubscription(r *sql.Rows) (s ThreadSubscription, err error) {
	return s, r.Scan(&s.Position, &s.UserID, &s.RoomNID, &s.RoomID, &s.ThreadID, &s.Subscribed, &s.Automatic)
}

// GetThreadSubscription returns what a user last said of a thread, or ErrNotFound.
func (db *DB) GetThreadSubscription(ctx context.Context, userID string, room int64, threadID string) (*ThreadSubscription, error) {
	rows, err := db.query(ctx, `SELECT`+threadSubscriptionColumns+`
		FROM thread_subscriptions t JOIN rooms r ON r.nid = t.room_nid
		WHERE t.user_id = $1 AND t.room_nid = $2 AND t.thread_id = $3`, userID, room, threadID)
	list, err := collect(rows, err, scanThreadSubscription)
	if err != nil {
		return nil, fmt.Errorf("reading whether a thread is subscribed to: %w", err)
	}
	if len(list) == 0 {
		return nil, ErrNotFound
	}
	return &list[0], nil
}

// ThreadSubscriptions returns up to limit of a user's, of those that changed after one
// position and before another, the last change first.
func (db *DB) ThreadSubscriptions(ctx context.Context, userID string, after, before Position, limit int) ([]ThreadSubscription, error) {
	rows, err := db.query(ctx, `SELECT`+threadSubscriptionColumns+`
		FROM thread_subscriptions t JOIN rooms r ON r.nid = t.room_nid
		WHERE t.user_id = $1 AND t.position > $2 AND t.position < $3 ORDER BY t.position DESC LIMIT $4`, userID, after, before, limit)
	list, err := collect(rows, err, scanThreadSubscription)
	if err != nil {
		return nil, fmt.Errorf("reading which threads are subscribed to: %w", err)
	}
	return list, nil
}

// CountThreadSubscriptions returns of how many threads a user has said anything.
func (db *DB) CountThreadSubscriptions(ctx context.Context, userID string) (n int, err error) {
	if err = db.scanRow(ctx, `SELECT count(*) FROM thread_subscriptions WHERE user_id = $1`, []any{userID}, &n); err != nil {
		return 0, fmt.Errorf("counting subscriptions: %w", err)
	}
	return n, nil
}

// ThreadSubscribers returns who wants to hear of a thread.
func (db *DB) ThreadSubscribers(ctx context.Context, room int64, threadID string) ([]string, error) {
	rows, err := db.query(ctx, `SELECT user_id FROM thread_subscriptions WHERE room_nid = $1 AND thread_id = $2 AND subscribed`, room, threadID)
	list, err := collect(rows, err, func(r *sql.Rows) (s string, err error) { return s, r.Scan(&s) })
	if err != nil {
		return nil, fmt.Errorf("reading who subscribes to a thread: %w", err)
	}
	return list, nil
}

// WhoSubscribes returns everybody who has ever said anything of a thread.
func (db *DB) WhoSubscribes(ctx context.Context) ([]string, error) {
	rows, err := db.query(ctx, `SELECT DISTINCT user_id FROM thread_subscriptions`)
	list, err := collect(rows, err, func(r *sql.Rows) (s string, err error) { return s, r.Scan(&s) })
	if err != nil {
		return nil, fmt.Errorf("reading who subscribes to threads: %w", err)
	}
	return list, nil
}

func (w *batchWriter) writeThreadSubscriptions(ctx context.Context, p *plan) error {
	type key struct {
		user, thread string
		room         int64
	}
	last := map[key]ThreadSubscription{}
	for _, t := range p.tickets {
		for _, s := range t.change.ThreadSubscriptions {
			last[key{s.UserID, s.ThreadID, s.RoomNID}] = s
		}
	}
	if len(last) == 0 {
		return nil
	}
	var position, room intArray
	var subscribed, automatic, user, thread textArray
	for _, s := range last {
		position.add(s.Position)
		room.add(s.RoomNID)
		subscribed.add(pgBool(s.Subscribed))
		automatic.add(pgBool(s.Automatic))
		user.add(s.UserID)
		thread.add(s.ThreadID)
	}
	return w.exec(ctx, "writing which threads are subscribed to", `
		INSERT INTO thread_subscriptions (position, room_nid, subscribed, automatic, user_id, thread_id)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::boolean[], $4::boolean[], $5::text[], $6::text[])
		ON CONFLICT (user_id, room_nid, thread_id) DO UPDATE SET position = excluded.position,
			subscribed = excluded.subscribed, automatic = excluded.automatic`,
		&position, &room, &subscribed, &automatic, &user, &thread)
}
