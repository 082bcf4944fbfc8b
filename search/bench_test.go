package search

import (
	"database/sql"
	"fmt"
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/lib/pq"

	"hearth/internal/testenv"
	"hearth/roomserver"
	"hearth/storage"
)

// BenchmarkFind searches among HEARTH_SEARCH_MESSAGES messages of 100 bytes, 100,000
// unless set, of a language in which some words are common and most are rare.
func BenchmarkFind(b *testing.B) {
	count := 100_000
	if n, err := strconv.Atoi(os.Getenv("HEARTH_SEARCH_MESSAGES")); err == nil {
		count = n
	}
	dsn := testenv.Database(b)
	db, err := storage.Open(b.Context(), dsn, storage.Options{MaxConnections: 10})
	if err != nil {
		b.Fatal(err)
	}
	w := &world{t: b, db: db}
	w.rooms = roomserver.New(roomserver.Options{DB: db, ServerName: "test.local", KeyID: "ed25519:a", PrivateKey: make([]byte, 64), CacheBytes: 32 << 20})
	room, nid := w.room()
	raw, err := sql.Open("postgres", dsn)
	if err != nil {
		b.Fatal(err)
	}
	defer raw.Close()
	populate(b, raw, room, nid, count)
	db.Close()
	if w.db, err = storage.Open(b.Context(), dsn, storage.Options{MaxConnections: 10}); err != nil {
		b.Fatal(err)
	}
	defer w.db.Close()
	w.rooms = roomserver.New(roomserver.Options{DB: w.db, ServerName: "test.local", KeyID: "ed25519:a", PrivateKey: make([]byte, 64), CacheBytes: 32 << 20})
	w.open()
	w.catchUp()
	var size int64
	if _, err := raw.Exec(`VACUUM ANALYZE search_blocks`); err != nil {
		b.Fatal(err)
	}
	if err := raw.QueryRow(`SELECT pg_total_relation_size('search_blocks')`).Scan(&size); err != nil {
		b.Fatal(err)
	}
	for _, text := range []string{"w1 w2", "w3 w500", "w900 w1200", "w15000", "unheard"} {
		b.Run(text, func(b *testing.B) {
			found := 0
			for b.Loop() {
				r, err := w.index.Find(b.Context(), &Query{UserID: alice, Text: text, Keys: []string{"content.body"}, Rooms: []int64{nid},
					UpTo: storage.Place{Position: math.MaxInt64, Sub: math.MaxInt32}})
				if err != nil {
					b.Fatal(err)
				}
				found = len(r.Found)
			}
			b.ReportMetric(float64(found), "found")
			b.ReportMetric(float64(size)/float64(count), "disk-bytes/message")
		})
	}
}

// populate writes messages as if they had been sent.
func populate(b *testing.B, raw *sql.DB, room string, nid int64, count int) {
	b.Helper()
	for _, query := range []string{
		fmt.Sprintf(`INSERT INTO events (nid, room_nid, position, depth, origin_ts, event_id, type, sender, json, snapshot_nid)
		SELECT 1000000000 + i, %d, 1000 + i, 100 + i, 1700000000000 + i, '$bench' || i, 'm.room.message', %s,
			'{"auth_events":[],"content":{"body":"' || body || '","msgtype":"m.text"},"depth":1,"room_id":' || %s || ',"sender":"@alice:test.local","type":"m.room.message"}',
			(SELECT snapshot_nid FROM rooms WHERE nid = %d)
		FROM generate_series(1, %d) AS i, LATERAL (
			SELECT string_agg('w' || floor(exp(random() * ln(20000)))::int, ' ') AS body FROM generate_series(1, 18) AS n WHERE n + i > 0) AS t`,
			nid, pq.QuoteLiteral(alice), pq.QuoteLiteral(`"`+room+`"`), nid, count),
		fmt.Sprintf(`UPDATE stream_head SET position = %d`, count+2000),
		`ANALYZE events`,
	} {
		if _, err := raw.Exec(query); err != nil {
			b.Fatal(err)
		}
	}
}
