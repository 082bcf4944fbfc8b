package storage

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/lib/pq"
	"github.com/tidwall/gjson"
)

// Person is an entry of the user directory.
type Person struct {
	UserID, DisplayName, AvatarURL string
	// Words is the text of a tsvector.
	Words string
}

// markStale has the directory entry of a user of this server be made anew.
const markStale = `INSERT INTO stale_people (user_id) VALUES ($1) ON CONFLICT DO NOTHING`

// RefreshPeople makes up to limit entries anew of users of this server that have
// changed, and reports how many there were; words returns the text of a tsvector.
func (db *DB) RefreshPeople(ctx context.Context, limit int, words func(Person) string) (n int, err error) {
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `
			WITH gone AS (
				DELETE FROM stale_people WHERE user_id IN (SELECT user_id FROM stale_people LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING user_id
			) SELECT g.user_id, u.user_id IS NOT NULL,
				coalesce((SELECT value FROM profiles p WHERE p.user_id = g.user_id AND field = 'displayname'), '""'),
				coalesce((SELECT value FROM profiles p WHERE p.user_id = g.user_id AND field = 'avatar_url'), '""')
			FROM gone g LEFT JOIN users u ON u.user_id = g.user_id AND u.deactivated_at IS NULL`, limit)
		var gone []string
		people, err := collect(rows, err, func(r *sql.Rows) (p Person, err error) {
			var active bool
			var name, avatar []byte
			if err := r.Scan(&p.UserID, &active, &name, &avatar); err != nil {
				return p, err
			}
			if !active {
				gone = append(gone, p.UserID)
			}
			if err := json.Unmarshal(name, &p.DisplayName); err != nil {
				return p, err
			}
			return p, json.Unmarshal(avatar, &p.AvatarURL)
		})
		if err != nil {
			return fmt.Errorf("reading changed profiles: %w", err)
		}
		n = len(people)
		if err := writePeople(ctx, tx, people, words); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `DELETE FROM people WHERE user_id = ANY($1)`, pq.StringArray(gone)); err != nil {
			return fmt.Errorf("removing people from the directory: %w", err)
		}
		return nil
	})
	return n, err
}

// FollowPeople takes the next up to limit memberships into the directory, of users for
// whom keep, and reports how many there were.
func (db *DB) FollowPeople(ctx context.Context, limit int, keep func(userID string) bool, words func(Person) string) (n int, err error) {
	head := db.Stream.Position()
	err = db.inTx(ctx, func(tx *sql.Tx) error {
		rows, err := tx.QueryContext(ctx, `
			WITH p AS (SELECT position, user_id FROM people_progress FOR UPDATE)
			SELECT m.position, m.user_id, CASE WHEN m.membership = 'join' THEN e.json ELSE '' END
			FROM p CROSS JOIN LATERAL (SELECT * FROM memberships m
				WHERE (m.position, m.user_id) > (p.position, p.user_id) AND m.position <= $1 ORDER BY m.position, m.user_id LIMIT $2) AS m
			JOIN events e ON e.nid = m.event_nid ORDER BY m.position, m.user_id`, head, limit)
		var position Position
		var last string
		newest := map[string]Person{}
		_, err = collect(rows, err, func(r *sql.Rows) (struct{}, error) {
			var text []byte
			err := r.Scan(&position, &last, &text)
			n++
			if len(text) > 0 && keep(last) {
				content := gjson.GetBytes(text, "content")
				newest[last] = Person{UserID: last, DisplayName: nameText(content.Get("displayname").Str), AvatarURL: nameText(content.Get("avatar_url").Str)}
			}
			return struct{}{}, err
		})
		if err != nil {
			return fmt.Errorf("reading new memberships: %w", err)
		}
		if n == 0 {
			return nil
		}
		people := make([]Person, 0, len(newest))
		for _, p := range newest {
			people = append(people, p)
		}
		if err := writePeople(ctx, tx, people, words); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE people_progress SET position = $1, user_id = $2`, position, last); err != nil {
			return fmt.Errorf("moving the directory on: %w", err)
		}
		return nil
	})
	return n, err
}

// maxNameText bounds what another server's user is shown with, in bytes.
const maxNameText = 1000

// nameText is what of a text from another server's event can be stored: that may hold NUL, and be of any length.
func nameText(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s[:min(len(s), maxNameText)], "\x00", ""), "")
}

func writePeople(ctx context.Context, tx *sql.Tx, people []Person, words func(Person) string) error {
	var id, name, avatar, vector textArray
	for _, p := range people {
		id.add(p.UserID)
		name.add(p.DisplayName)
		avatar.add(p.AvatarURL)
		vector.add(words(p))
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO people (user_id, display_name, avatar_url, words)
		SELECT id, name, avatar, vector::tsvector FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS p (id, name, avatar, vector)
		ON CONFLICT (user_id) DO UPDATE SET display_name = excluded.display_name, avatar_url = excluded.avatar_url, words = excluded.words`,
		&id, &name, &avatar, &vector)
	if err != nil {
		return fmt.Errorf("writing to the user directory: %w", err)
	}
	return nil
}

// PeopleQuery says whom to look for in the user directory.
type PeopleQuery struct {
	// Query is the text of a tsquery, "" to look for IDPrefix alone.
	Query string
	// IDPrefix is what the user id begins with, "" for anything.
	IDPrefix string
	// Asker is who looks; they find those who share a room with them, and those in
	// rooms that anybody may join or look into, also themselves if they are in one of these.
	Asker string
	// LocalSuffix, unless "", is what the ids of users end in who are always found.
	LocalSuffix string
}

// fewPeople is how many members rooms may have together for a list of them to be made.
const fewPeople = "20000"

// FindPeople returns up to limit of the people that the asker may find.
func (db *DB) FindPeople(ctx context.Context, q PeopleQuery, limit int) ([]Person, error) {
	// Each condition stands there only if it is asked for, so that its index is used.
	args := []any{q.Asker, q.LocalSuffix, limit}
	conditions := ""
	if q.Query != "" {
		args = append(args, q.Query)
		conditions += fmt.Sprintf(" AND words @@ $%d::tsquery", len(args))
	}
	if q.IDPrefix != "" {
		args = append(args, q.IDPrefix)
		conditions += fmt.Sprintf(" AND p.user_id >= $%[1]d AND p.user_id < $%[1]d || chr(1114111)", len(args))
	}
	// Of rooms with few members a list is made of those; otherwise each candidate's rooms are looked
	// up (which OFFSET 0 and + 0 ask for): most will be in one of them.
	rows, err := db.query(ctx, `
		WITH seen AS MATERIALIZED (
			SELECT room_nid FROM memberships WHERE user_id = $1 AND membership = 'join'
			UNION SELECT room_nid FROM room_summaries WHERE join_rule = 'public' OR history_visibility = 'world_readable'
		), size AS MATERIALIZED (
			SELECT coalesce(sum(joined_members), 0) <= `+fewPeople+` AS few FROM room_summaries WHERE room_nid IN (SELECT room_nid FROM seen)
		) SELECT user_id, display_name, avatar_url FROM people p
		WHERE (p.user_id <> $1 OR EXISTS (
			SELECT FROM memberships m JOIN room_summaries s USING (room_nid) WHERE m.user_id = $1 AND m.membership = 'join'
			AND (s.join_rule = 'public' OR s.history_visibility = 'world_readable')))`+conditions+` AND ($2 <> '' AND right(p.user_id, length($2)) = $2
			OR p.user_id IN (SELECT m.user_id FROM memberships m JOIN seen USING (room_nid) WHERE m.membership = 'join' AND (SELECT few FROM size))
			OR NOT (SELECT few FROM size) AND EXISTS (
				SELECT FROM memberships m WHERE m.user_id = p.user_id AND m.membership = 'join' AND m.room_nid + 0 = ANY(ARRAY(SELECT room_nid FROM seen)) OFFSET 0))
		LIMIT $3`, args...)
	list, err := collect(rows, err, func(r *sql.Rows) (p Person, err error) {
		return p, r.Scan(&p.UserID, &p.DisplayName, &p.AvatarURL)
	})
	if err != nil {
		return nil, fmt.Errorf("searching the user directory: %w", err)
	}
	return list, nil
}
