package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// told is an event as a reader tells it; text is empty unless it is a message.
type told struct{ id, sender, text string }

func toldBy(ev gjson.Result) told {
	return told{ev.Get("event_id").String(), ev.Get("sender").String(), ev.Get("content.body").String()}
}

func idsOf(story []told) []string {
	ids := make([]string, len(story))
	for i, ev := range story {
		ids[i] = ev.id
	}
	return ids
}

// reader follows /sync from before the first message to after the last, across
// every crash, with nothing but its since token.
type reader struct {
	user   *user
	filter string
	since  string

	mu    sync.Mutex
	rooms map[string]*thread
}

// thread is what a reader has seen of one room since its first sync.
type thread struct {
	before string // the newest event of the first sync
	ids    []string
}

func newReader(t *testing.T, u *user, rooms []string, limit int) *reader {
	r := &reader{user: u, filter: fmt.Sprintf(`{"room":{"timeline":{"limit":%d}}}`, limit), rooms: map[string]*thread{}}
	first := u.sync(t, "", r.filter)
	r.since = first.Get("next_batch").String()
	for _, room := range rooms {
		timeline := first.Get("rooms.join." + escapeKey(room) + ".timeline.events").Array()
		r.rooms[room] = &thread{before: timeline[len(timeline)-1].Get("event_id").String()}
	}
	return r
}

// run syncs until the conversation stops its readers.
func (r *reader) run(c *conversation) {
	for c.reading.Err() == nil {
		a, err := r.user.try(c.reading, http.MethodGet, syncPath(r.since, r.filter, 10*time.Second), nil)
		if err != nil || a.status >= 500 {
			time.Sleep(50 * time.Millisecond) // the server is down; the token is still good
			continue
		}
		if a.status != http.StatusOK {
			c.fail(fmt.Errorf("syncing from %s: %s", r.since, a))
			return
		}
		if err := r.take(c.reading, a.json()); err != nil {
			if c.reading.Err() == nil {
				c.fail(err)
			}
			return
		}
		r.since = a.json().Get("next_batch").String()
	}
}

func (r *reader) take(ctx context.Context, answer gjson.Result) error {
	for room, th := range r.rooms {
		timeline := answer.Get("rooms.join." + escapeKey(room) + ".timeline")
		var ids []string
		for _, ev := range timeline.Get("events").Array() {
			ids = append(ids, ev.Get("event_id").String())
		}
		if timeline.Get("limited").Bool() {
			gap, err := r.fill(ctx, room, timeline.Get("prev_batch").String(), th.newest())
			if err != nil {
				return err
			}
			ids = append(gap, ids...)
		}
		r.mu.Lock()
		th.ids = append(th.ids, ids...)
		r.mu.Unlock()
	}
	return nil
}

func (th *thread) newest() string {
	if len(th.ids) == 0 {
		return th.before
	}
	return th.ids[len(th.ids)-1]
}

// fill pages back from a limited timeline to the event that was the newest, and
// returns what lies between, oldest first.
func (r *reader) fill(ctx context.Context, room, from, newest string) ([]string, error) {
	var ids []string
	for {
		path := inRoom(room, "messages?dir=b&limit=30&from="+url.QueryEscape(from))
		a, err := r.user.try(ctx, http.MethodGet, path, nil)
		if err != nil || a.status >= 500 {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			time.Sleep(50 * time.Millisecond)
			continue
		}
		for _, ev := range a.json().Get("chunk").Array() {
			if ev.Get("event_id").String() == newest {
				slices.Reverse(ids)
				return ids, nil
			}
			ids = append(ids, ev.Get("event_id").String())
		}
		if from = a.json().Get("end").String(); a.status != http.StatusOK || from == "" {
			return nil, fmt.Errorf("paging back to %s: %s", newest, a)
		}
	}
}

// wait returns what the reader has of a room once it has its last event.
func (r *reader) wait(t *testing.T, room, last string) []string {
	t.Helper()
	var ids []string
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		r.mu.Lock()
		ids = slices.Clone(r.rooms[room].ids)
		r.mu.Unlock()
		if slices.Contains(ids, last) {
			break
		}
	}
	return ids
}

// missed is how many events of the story lie before the reader's first sync ended.
func (r *reader) missed(t *testing.T, room string, story []told) int {
	t.Helper()
	i := slices.Index(idsOf(story), r.rooms[room].before)
	if i < 0 {
		t.Fatalf("the story of %s lacks %s, which a first sync had shown", room, r.rooms[room].before)
	}
	return i + 1
}

// forwards reads a whole room by /messages from its beginning.
func forwards(t *testing.T, u *user, room string) []told { return page(t, u, room, "f", "") }

// backwards reads a whole room by /messages from its end; oldest first.
func backwards(t *testing.T, u *user, room string) []string {
	ids := idsOf(page(t, u, room, "b", ""))
	slices.Reverse(ids)
	return ids
}

// fromFirstSync reads a whole room as a new device does; oldest first.
func fromFirstSync(t *testing.T, u *user, room string) []string {
	timeline := u.sync(t, "", "").Get("rooms.join." + escapeKey(room) + ".timeline")
	ids := idsOf(page(t, u, room, "b", timeline.Get("prev_batch").String()))
	slices.Reverse(ids)
	for _, ev := range timeline.Get("events").Array() {
		ids = append(ids, ev.Get("event_id").String())
	}
	return ids
}

func page(t *testing.T, u *user, room, dir, from string) (story []told) {
	t.Helper()
	for {
		path := "messages?limit=100&dir=" + dir
		if from != "" {
			path += "&from=" + url.QueryEscape(from)
		}
		answer := u.ok(t, "GET", inRoom(room, path), nil)
		for _, ev := range answer.Get("chunk").Array() {
			story = append(story, toldBy(ev))
		}
		next := answer.Get("end").String()
		if next == "" || len(answer.Get("chunk").Array()) == 0 && next == from {
			return story
		}
		from = next
	}
}
