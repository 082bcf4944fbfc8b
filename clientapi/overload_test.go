package clientapi

import (
	"database/sql"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"hearth/internal/testenv"
	"hearth/storage"
)

// TestOverloadIsRefused offers more messages than may wait while the database
// writes nothing: some are refused and told when to try again. All others are stored
// once it goes on, each once, and nothing else is.
func TestOverloadIsRefused(t *testing.T) {
	const offered, mayWait = 2200, 2048
	dsn := testenv.Database(t)
	db, err := storage.Open(t.Context(), dsn, storage.Options{MaxConnections: 10})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	w := newWorld(t, func(o *Options) {
		o.DB = db
		o.Rooms = testRooms(t, db)
	})
	alice := w.register("alice")
	room := w.ok("POST", "/createRoom", alice, object{})["room_id"].(string)
	goOn := stall(t, dsn)

	var accepted sync.Map
	var refused atomic.Int64
	var all sync.WaitGroup
	enough := make(chan struct{})
	for i := range offered {
		all.Go(func() {
			status, answer := w.do("PUT", fmt.Sprintf("/rooms/%s/send/m.room.message/%d", room, i), alice, object{"msgtype": "m.text", "body": "hello"})
			switch {
			case status == http.StatusOK:
				accepted.Store(answer["event_id"], true)
			case status != http.StatusServiceUnavailable || answer["retry_after_ms"] == nil:
				t.Errorf("a message was answered %d %v", status, answer)
			case refused.Add(1) == offered-mayWait:
				close(enough)
			}
		})
	}
	<-enough
	goOn()
	all.Wait()
	if n := refused.Load(); n != offered-mayWait {
		t.Errorf("%d of %d messages were refused", n, offered)
	}
	for from := ""; ; {
		page := w.ok("GET", "/rooms/"+room+"/messages?dir=f&limit=1000&from="+from, alice, nil)
		for _, e := range page["chunk"].([]any) {
			if e := e.(object); e["type"] == "m.room.message" {
				if _, ok := accepted.LoadAndDelete(e["event_id"]); !ok {
					t.Fatalf("%s is there twice, or wasn't accepted", e["event_id"])
				}
			}
		}
		if from, _ = page["end"].(string); from == "" {
			break
		}
	}
	accepted.Range(func(id, _ any) bool {
		t.Errorf("%s was accepted, and lost", id)
		return true
	})
}

// stall has the database commit nothing until the function it returns is called.
func stall(t *testing.T, dsn string) (goOn func()) {
	pool, err := sql.Open("postgres", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	tx, err := pool.BeginTx(t.Context(), nil)
	if err == nil {
		_, err = tx.Exec(`SELECT position FROM stream_head FOR UPDATE`)
	}
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}
