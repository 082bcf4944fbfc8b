package scenario

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// homeserver is as much of a homeserver as the scenarios need, in memory, and
// breaks its promises on demand.
type homeserver struct {
	mu     sync.Mutex
	grown  chan struct{} // closed when the stream has grown
	stream []item        // position p is stream[p-1]
	users  int
	joined map[string][]string // user to rooms
	broken fault
}

// fault spoils every tenth message, or every page.
type fault string

const (
	loses    fault = "loses"
	doubles  fault = "doubles"
	swaps    fault = "swaps"    // two that follow one another, in /messages only
	renames  fault = "renames"  // answers another event ID
	refuses  fault = "refuses"  // with 429, each sender's fourth and eighth
	unlimits fault = "unlimits" // leaves out of /sync without saying so
)

type item struct {
	room, id string
	body     json.RawMessage
	hidden   bool // from /sync
}

func startFake(t *testing.T, f fault) *httptest.Server {
	h := &homeserver{grown: make(chan struct{}), joined: map[string][]string{}, broken: f}
	mux := http.NewServeMux()
	const api = "/_matrix/client/v3"
	mux.HandleFunc("GET /_matrix/client/versions", reply(func(*http.Request) any { return map[string]any{} }))
	mux.HandleFunc("GET "+api+"/account/whoami", reply(func(*http.Request) any { return map[string]any{} }))
	mux.HandleFunc("POST "+api+"/register", reply(h.register))
	mux.HandleFunc("POST "+api+"/user/{user}/filter", reply(func(*http.Request) any { return map[string]any{"filter_id": "1"} }))
	mux.HandleFunc("POST "+api+"/createRoom", reply(h.createRoom))
	mux.HandleFunc("POST "+api+"/rooms/{room}/join", reply(h.join))
	mux.HandleFunc("POST "+api+"/rooms/{room}/leave", reply(func(*http.Request) any { return map[string]any{} }))
	mux.HandleFunc("GET "+api+"/joined_rooms", reply(func(r *http.Request) any {
		h.mu.Lock()
		defer h.mu.Unlock()
		return map[string]any{"joined_rooms": slices.Clone(h.joined[user(r)])}
	}))
	mux.HandleFunc("PUT "+api+"/rooms/{room}/send/{type}/{txn}", h.send)
	mux.HandleFunc("GET "+api+"/rooms/{room}/messages", reply(h.messages))
	mux.HandleFunc("GET "+api+"/sync", reply(h.sync))
	handleMedia(mux)
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func reply(f func(*http.Request) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(f(r))
	}
}

func user(r *http.Request) string {
	return strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func (h *homeserver) register(*http.Request) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.users++
	return map[string]any{"user_id": fmt.Sprintf("@%d:fake", h.users), "access_token": fmt.Sprint(h.users)}
}

func (h *homeserver) createRoom(r *http.Request) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	id := fmt.Sprintf("!%d:fake", len(h.stream))
	h.stream = append(h.stream, item{room: id, id: fmt.Sprintf("$%d", len(h.stream)), body: json.RawMessage(`{}`)})
	h.joined[user(r)] = append(h.joined[user(r)], id)
	return map[string]any{"room_id": id}
}

func (h *homeserver) join(r *http.Request) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.joined[user(r)] = append(h.joined[user(r)], r.PathValue("room"))
	return map[string]any{}
}

func (h *homeserver) send(w http.ResponseWriter, r *http.Request) {
	var body json.RawMessage
	_ = json.NewDecoder(r.Body).Decode(&body)
	h.mu.Lock()
	defer h.mu.Unlock()
	it := item{room: r.PathValue("room"), id: fmt.Sprintf("$%d", len(h.stream)), body: body}
	answer := it.id
	spoil := strings.HasSuffix(r.PathValue("txn"), "7")
	switch {
	case h.broken == refuses && (strings.HasSuffix(r.PathValue("txn"), ".3") || strings.HasSuffix(r.PathValue("txn"), ".7")):
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case spoil && h.broken == loses:
		it.room = "nowhere"
	case spoil && h.broken == doubles:
		h.stream = append(h.stream, it)
	case spoil && h.broken == renames:
		answer += "x"
	case spoil && h.broken == unlimits:
		it.hidden = true
	}
	h.stream = append(h.stream, it)
	close(h.grown)
	h.grown = make(chan struct{})
	_ = json.NewEncoder(w).Encode(map[string]string{"event_id": answer})
}

func (it *item) render() map[string]any {
	return map[string]any{"type": "m.room.message", "content": it.body, "event_id": it.id, "unsigned": map[string]any{"age": 1}}
}

func (h *homeserver) messages(r *http.Request) any {
	h.mu.Lock()
	defer h.mu.Unlock()
	q := r.URL.Query()
	limit, _ := strconv.Atoi(q.Get("limit"))
	back := q.Get("dir") == "b"
	at, step := len(h.stream), -1
	if from, err := strconv.Atoi(q.Get("from")); err == nil {
		at = from
	}
	if !back {
		step = 1
	}
	chunk := []any{}
	for len(chunk) < limit && (back && at > 0 || !back && at < len(h.stream)) {
		i := at
		if back {
			i--
		}
		if it := &h.stream[i]; it.room == r.PathValue("room") {
			chunk = append(chunk, it.render())
		}
		at += step
	}
	if n := len(chunk); h.broken == swaps && n > 3 {
		chunk[n/2-1], chunk[n/2] = chunk[n/2], chunk[n/2-1]
	}
	answer := map[string]any{"chunk": chunk, "start": q.Get("from")}
	if back && at > 0 || !back && len(chunk) > 0 {
		answer["end"] = fmt.Sprint(at)
	}
	return answer
}

func (h *homeserver) sync(r *http.Request) any {
	q := r.URL.Query()
	since, err := strconv.Atoi(q.Get("since"))
	wait, _ := strconv.Atoi(q.Get("timeout"))
	h.mu.Lock()
	defer h.mu.Unlock()
	if grown := h.grown; err == nil && since == len(h.stream) && wait > 0 {
		h.mu.Unlock()
		select {
		case <-grown:
		case <-time.After(time.Duration(wait) * time.Millisecond):
		case <-r.Context().Done():
		}
		h.mu.Lock()
	}
	rooms := map[string]any{}
	for _, room := range h.joined[user(r)] {
		if timeline := h.timeline(room, since); timeline != nil {
			rooms[room] = map[string]any{"timeline": timeline}
		}
	}
	return map[string]any{"next_batch": fmt.Sprint(len(h.stream)), "rooms": map[string]any{"join": rooms}}
}

// fakeLimit is the timeline's limit: low, so that there are gaps.
const fakeLimit = 5

func (h *homeserver) timeline(room string, since int) map[string]any {
	var events []any
	prev := 0
	for i := len(h.stream) - 1; i >= since; i-- {
		if it := &h.stream[i]; it.room == room && !it.hidden {
			if len(events) == fakeLimit {
				slices.Reverse(events)
				return map[string]any{"events": events, "limited": true, "prev_batch": fmt.Sprint(prev)}
			}
			events, prev = append(events, it.render()), i
		}
	}
	slices.Reverse(events)
	if events == nil {
		return nil
	}
	return map[string]any{"events": events, "limited": false, "prev_batch": fmt.Sprint(since)}
}
