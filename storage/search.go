package storage

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/lib/pq"
)

// SearchQuery says what to look for in the search index.
type SearchQuery struct {
	// Query is the text of a tsquery: a block must have all terms.
	Query string
	// Terms are what Query consists of, each alone or, where Prefix says so, as what a
	// word begins with.
	Terms  []string
	Prefix []bool
	Rooms  []int64
}

// SearchBlockPlace is where a block ends, in the timeline's order.
type SearchBlockPlace struct {
	NID  int64
	Last Place
}

// FoundMessages are the messages of a block that have all the words somewhere, the newest first.
type FoundMessages struct {
	Last   Place // of the block
	Events []int64
}

// foundExactly and foundPrefixes select what FoundMessages says of blocks b, with a SearchQuery's terms and rooms as $1
// and $2. Only the words that are looked for are taken apart, of hundreds: the first marks them and
// drops the others. Then only messages with all of them are looked up.
const (
	foundExactly = ` b.last_position, b.last_sub, ARRAY(
		SELECT b.event_nids[h.n] FROM (
			SELECT p.n FROM unnest(ts_filter(setweight(b.words, 'C', $1::text[]), '{c}')) AS w CROSS JOIN unnest(w.positions) AS p (n)
			GROUP BY p.n HAVING count(*) = cardinality($1::text[]) OFFSET 0
		) AS h WHERE b.room_nids[h.n] = ANY($2) ORDER BY h.n DESC) `
	foundPrefixes = ` b.last_position, b.last_sub, ARRAY(
		SELECT b.event_nids[h.n] FROM (
			SELECT p.n FROM (
				SELECT t.term, w.positions FROM unnest(b.words) AS w JOIN unnest($1::text[], $4::boolean[]) AS t (term, prefix)
					ON starts_with(w.lexeme, t.term) AND (t.prefix OR w.lexeme = t.term) OFFSET 0
			) AS w CROSS JOIN unnest(w.positions) AS p (n)
			GROUP BY p.n HAVING count(DISTINCT w.term) = cardinality($1::text[]) OFFSET 0
		) AS h WHERE b.room_nids[h.n] = ANY($2) ORDER BY h.n DESC) `
)

// SearchIn looks for messages in the blocks with the given numbers, the newest first.
func (db *DB) SearchIn(ctx context.Context, q *SearchQuery, blocks []int64) ([]FoundMessages, error) {
	found, args := foundExactly, []any{pq.StringArray(q.Terms), nids(q.Rooms), nids(blocks)}
	if slices.Contains(q.Prefix, true) {
		found, args = foundPrefixes, append(args, pq.BoolArray(q.Prefix))
	}
	rows, err := db.query(ctx, `SELECT`+found+`
		FROM search_blocks AS b WHERE b.nid = ANY($3) ORDER BY b.last_position DESC, b.last_sub DESC`, args...)
	list, err := collect(rows, err, func(r *sql.Rows) (f FoundMessages, err error) {
		return f, r.Scan(&f.Last.Position, &f.Last.Sub, (*pq.Int64Array)(&f.Events))
	})
	return list, wrapped("looking through the search index", err)
}

// NewestSearchBlocks returns those of the limit newest blocks before a place that have the words, the newest first, and the
// place before which there may be others, zero for none: words that are used a lot are found there without finding every place
// where they stand.
func (db *DB) NewestSearchBlocks(ctx context.Context, q *SearchQuery, before Place, limit int) (have []SearchBlockPlace, rest Place, err error) {
	rows, err := db.query(ctx, `
		SELECT b.nid, b.last_position, b.last_sub, b.room_nids && $4 AND b.words @@ $3::tsquery
		FROM search_blocks AS b WHERE (b.last_position, b.last_sub) < ($1, $2)
		ORDER BY b.last_position DESC, b.last_sub DESC LIMIT $5`, before.Position, before.Sub, q.Query, nids(q.Rooms), limit)
	list, err := collect(rows, err, func(r *sql.Rows) (p SearchBlockPlace, err error) {
		var has bool
		if err = r.Scan(&p.NID, &p.Last.Position, &p.Last.Sub, &has); has {
			have = append(have, p)
		}
		return p, err
	})
	return have, restOf(list, limit), wrapped("reading the newest of the search index", err)
}

// SearchBlocks returns the newest limit blocks before a place that have all the words, though perhaps in different
// messages, which is known from the index of words alone. The place that it returns is as of NewestSearchBlocks.
func (db *DB) SearchBlocks(ctx context.Context, q *SearchQuery, before Place, limit int) (have []SearchBlockPlace, rest Place, err error) {
	rows, err := db.query(ctx, `
		WITH b AS MATERIALIZED (
			SELECT nid, last_position, last_sub FROM search_blocks
			WHERE words @@ $1::tsquery AND room_nids && $2 AND (last_position, last_sub) < ($3, $4)
		) SELECT nid, last_position, last_sub FROM b ORDER BY last_position DESC, last_sub DESC LIMIT $5`,
		q.Query, nids(q.Rooms), before.Position, before.Sub, limit)
	have, err = collect(rows, err, func(r *sql.Rows) (p SearchBlockPlace, err error) {
		return p, r.Scan(&p.NID, &p.Last.Position, &p.Last.Sub)
	})
	return have, restOf(have, limit), wrapped("asking the search index", err)
}

// restOf is the place before which what a limited list lacks is.
func restOf(list []SearchBlockPlace, limit int) Place {
	if len(list) < limit {
		return Place{}
	}
	return list[len(list)-1].Last
}

func wrapped(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
