package syncapi

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestReadersAgree has many people follow a room by chains of syncs, each at their
// own pace and some with small timelines, while others talk: nobody misses,
// doubles or misorders anything.
func TestReadersAgree(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("alice")
	const readers, senders, messages = 12, 3, 60
	var clients []*client
	for i := range readers {
		name := fmt.Sprint("reader", i)
		w.join(room, name)
		c := w.client(name)
		c.filter = `{"room":{"timeline":{"limit":100}}}`
		c.sync(0)
		clients = append(clients, c)
	}
	var wg sync.WaitGroup
	heard := make([][]string, readers)
	for i, c := range clients {
		wg.Go(func() {
			deadline := time.Now().Add(time.Minute)
			for len(heard[i]) < senders*messages && time.Now().Before(deadline) {
				r := joined(c.sync(time.Second), room)
				if r.Get("timeline.limited").Bool() {
					t.Errorf("%s was given a gap", c.name)
					return
				}
				for _, e := range r.Get("timeline.events").Array() {
					if e.Get("type").Str == "m.room.message" {
						heard[i] = append(heard[i], e.Get("content.body").Str)
					}
				}
				time.Sleep(time.Duration(i) * time.Millisecond)
			}
		})
	}
	for s := range senders {
		wg.Go(func() {
			for n := range messages {
				w.say(room, "alice", fmt.Sprintf("%d/%d", s, n))
			}
		})
	}
	wg.Wait()
	for i := range heard {
		if fmt.Sprint(heard[i]) != fmt.Sprint(heard[0]) {
			t.Fatalf("reader %d heard %v, reader 0 heard %v", i, heard[i], heard[0])
		}
	}
	next := map[string]int{}
	for _, body := range heard[0] {
		var s, n int
		if _, err := fmt.Sscanf(body, "%d/%d", &s, &n); err != nil || next[fmt.Sprint(s)] != n {
			t.Fatalf("heard %q when the next of sender %d was %d", body, s, next[fmt.Sprint(s)])
		}
		next[fmt.Sprint(s)]++
	}
	want(t, "messages heard", len(heard[0]), senders*messages)
}
