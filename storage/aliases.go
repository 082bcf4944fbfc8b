package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/lib/pq"
)

// Alias is a local name for a room.
type Alias struct {
	Alias   string
	RoomID  string
	Creator string
}

// GetAlias returns an alias, or ErrNotFound.
func (db *DB) GetAlias(ctx context.Context, alias string) (*Alias, error) {
	a := Alias{Alias: alias}
	err := db.scanRow(ctx, `
		SELECT r.room_id, a.creator FROM room_aliases a JOIN rooms r ON r.nid = a.room_nid WHERE a.alias = $1`,
		[]any{alias}, &a.RoomID, &a.Creator)
	return &a, notFound("reading an alias", err)
}

// AliasesOf returns those of the aliases that point to a room.
func (db *DB) AliasesOf(ctx context.Context, roomID string, aliases []string) ([]string, error) {
	rows, err := db.query(ctx, `
		SELECT a.alias FROM room_aliases a JOIN rooms r ON r.nid = a.room_nid WHERE r.room_id = $1 AND a.alias = ANY($2)`, roomID, pq.StringArray(aliases))
	list, err := collect(rows, err, func(r *sql.Rows) (s string, err error) { return s, r.Scan(&s) })
	if err != nil {
		return nil, fmt.Errorf("looking where aliases point: %w", err)
	}
	return list, nil
}

// ErrTooManyAliases is for a room that has MaxAliases.
var ErrTooManyAliases = errors.New("the room has too many aliases")

// CreateAlias makes an alias point to a room. An alias that is taken is an error
// for which IsUniqueViolation reports true; one too many is ErrTooManyAliases.
func (db *DB) CreateAlias(ctx context.Context, room int64, a Alias) error {
	n, err := db.exec(ctx, `
		INSERT INTO room_aliases (alias, room_nid, creator) SELECT $1, $2, $3
		WHERE (SELECT count(*) FROM room_aliases WHERE room_nid = $2) < $4`, a.Alias, room, a.Creator, MaxAliases)
	if err != nil {
		return fmt.Errorf("making an alias: %w", err)
	}
	if n == 0 {
		return ErrTooManyAliases
	}
	return nil
}

// DeleteAlias removes an alias, or returns ErrNotFound.
func (db *DB) DeleteAlias(ctx context.Context, alias string) error {
	n, err := db.exec(ctx, `DELETE FROM room_aliases WHERE alias = $1`, alias)
	if err != nil {
		return fmt.Errorf("removing an alias: %w", err)
	}
	if n == 0 {
		return ErrNotFound
	}
	return nil
}

// MaxAliases bounds the aliases of a room. An upgrade can bring more to one; so many are listed.
const MaxAliases = 1000

// RoomAliases returns a room's aliases in order.
func (db *DB) RoomAliases(ctx context.Context, room int64) ([]string, error) {
	rows, err := db.query(ctx, `SELECT alias FROM room_aliases WHERE room_nid = $1 ORDER BY alias LIMIT $2`, room, MaxAliases)
	list, err := collect(rows, err, func(r *sql.Rows) (s string, err error) { return s, r.Scan(&s) })
	if err != nil {
		return nil, fmt.Errorf("reading a room's aliases: %w", err)
	}
	return list, nil
}
