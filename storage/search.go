package storage

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/lib/pq"
)

// SearchQuery says what to look for in the search index.
type SearchQuery struct {
	// Query is the text of a tsquery: a message must have all terms.
	Query string
	// Terms are what Query consists of, each alone or, where Prefix says so, as what a
	// word begins with.
	Terms  []string
	Prefix []bool
	// Weights are what the words may stand in: A, B, D.
	Weights []string
	Rooms   []int64
}

// FoundMessages are the messages of a block that have the words, the newest first.
type FoundMessages struct {
	Last   Position // of the block
	Events []int64
}

// foundColumns are read by scanFound, of a search_blocks b, with a SearchQuery's parts
// from $1 on.
const foundColumns = ` b.last_position, ARRAY(
		SELECT b.event_nids[p.n] FROM (
			SELECT t.term, w.positions, w.weights FROM unnest(b.words) AS w JOIN unnest($2::text[], $3::boolean[]) AS t (term, prefix)
				ON starts_with(w.lexeme, t.term) AND (t.prefix OR w.lexeme = t.term)
			OFFSET 0 -- choose the words before taking their positions apart
		) AS h CROSS JOIN unnest(h.positions, h.weights) AS p (n, weight)
		WHERE p.weight = ANY($4) AND b.room_nids[p.n] = ANY($5)
		GROUP BY p.n HAVING count(DISTINCT h.term) = cardinality($2::text[]) ORDER BY p.n DESC) `

func scanFound(r *sql.Rows) (f FoundMessages, err error) {
	return f, r.Scan(&f.Last, (*pq.Int64Array)(&f.Events))
}

func (q *SearchQuery) args(more ...any) []any {
	return append([]any{q.Query, pq.StringArray(q.Terms), pq.BoolArray(q.Prefix), pq.StringArray(q.Weights), nids(q.Rooms)}, more...)
}

// SearchNewest looks through the limit blocks that come before a position, the newest
// first. It returns the last position of the oldest one, 0 if there was none: words that
// are used a lot are found there without looking at every place where they stand.
func (db *DB) SearchNewest(ctx context.Context, q *SearchQuery, before Position, limit int) (found []FoundMessages, oldest Position, err error) {
	err = db.scanRow(ctx, `SELECT coalesce(min(last_position), 0) FROM (
		SELECT last_position FROM search_blocks WHERE last_position < $1 ORDER BY last_position DESC LIMIT $2) AS b`, []any{before, limit}, &oldest)
	if err != nil || oldest == 0 {
		return nil, 0, wrapped("looking through the search index", err)
	}
	rows, err := db.query(ctx, `
		SELECT`+foundColumns+`FROM (SELECT * FROM search_blocks WHERE last_position < $6 AND last_position >= $7
			ORDER BY last_position DESC LIMIT $8) AS b
		WHERE b.words @@ $1::tsquery AND b.room_nids && $5 ORDER BY b.last_position DESC`, q.args(before, oldest, limit)...)
	found, err = collect(rows, err, scanFound)
	return found, oldest, wrapped("looking through the search index", err)
}

// Search returns the newest limit blocks before a position in which messages have the
// words.
func (db *DB) Search(ctx context.Context, q *SearchQuery, before Position, limit int) ([]FoundMessages, error) {
	rows, err := db.query(ctx, `
		WITH b AS MATERIALIZED (
			SELECT * FROM search_blocks WHERE words @@ $1::tsquery AND room_nids && $5 AND last_position < $6
		), newest AS MATERIALIZED (
			SELECT * FROM b ORDER BY last_position DESC LIMIT $7
		) SELECT`+foundColumns+`FROM newest AS b ORDER BY b.last_position DESC`, q.args(before, limit)...)
	found, err := collect(rows, err, scanFound)
	return found, wrapped("asking the search index", err)
}

func wrapped(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
