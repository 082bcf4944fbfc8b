package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// TestSyncsAgree lets a few people do whatever comes into their heads, while each is
// watched by a device for every kind of sync, at its own pace, with small timelines,
// windows that move, answers that get lost, and a restart. In the end all that these
// devices know, /messages and /state say, is one and the same story.
//
// HEARTH_SYNC_SEED repeats a run, HEARTH_SYNC_STEPS makes it longer.
func TestSyncsAgree(t *testing.T) {
	seed, steps := uint64(time.Now().UnixNano()), 150
	if text := os.Getenv("HEARTH_SYNC_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	if text := os.Getenv("HEARTH_SYNC_STEPS"); text != "" {
		steps, _ = strconv.Atoi(text)
	}
	t.Logf("HEARTH_SYNC_SEED=%d", seed)
	s := startServer(t)
	h := newHistory(t, s, rand.New(rand.NewPCG(seed, 0)))
	for i := range steps {
		h.act()
		for h.r.IntN(2) == 0 {
			h.witnesses[h.r.IntN(len(h.witnesses))].look(t)
		}
		if i == steps/2 {
			s.stop()
			s.start()
		}
	}
	h.end()
}

// history is what people do in a few rooms.
type history struct {
	t         *testing.T
	r         *rand.Rand
	people    []*user
	rooms     []string
	witnesses []*witness
	// said are the events that were sent to each room.
	said map[string][]string
	n    int
}

func newHistory(t *testing.T, s *server, r *rand.Rand) *history {
	h := &history{t: t, r: r, said: map[string][]string{}}
	for _, name := range []string{"alice", "bob", "carol", "dan"} {
		h.people = append(h.people, register(t, s.base, name))
	}
	for _, visibility := range []string{"world_readable", "shared", "invited", "joined"} {
		h.rooms = append(h.rooms, h.people[0].createRoom(t, map[string]any{"preset": "public_chat", "initial_state": []any{map[string]any{
			"type": "m.room.history_visibility", "state_key": "", "content": map[string]any{"history_visibility": visibility}}}}))
	}
	for _, u := range h.people {
		for _, kind := range []string{"v2", "unstable", "v4"} {
			h.witnesses = append(h.witnesses, &witness{u: login(t, s.base, u.id, password), kind: kind, r: r,
				rooms: map[string]*knownRoom{}, data: map[string]string{}})
		}
	}
	return h
}

// act has somebody do something, which may not be allowed.
func (h *history) act() {
	u, target, room := h.people[h.r.IntN(4)], h.people[h.r.IntN(4)], h.rooms[h.r.IntN(4)]
	h.n++
	do := func(method, path string, body any) gjson.Result { return u.do(h.t, method, path, body).json() }
	say := func() {
		path := inRoom(room, fmt.Sprint("send/m.room.message/", h.n, "-", h.r.Uint64()))
		if id := do("PUT", path, textMessage(fmt.Sprint(h.n))).Get("event_id").String(); id != "" {
			h.said[room] = append(h.said[room], id)
		}
	}
	actions := []func(){
		say, say, say,
		func() { // more than a timeline holds
			for range 12 {
				say()
			}
		},
		func() {
			do("PUT", inRoom(room, "state/org.example/"+strconv.Itoa(h.r.IntN(5))), map[string]any{"n": h.n})
		},
		func() {
			do("PUT", inRoom(room, "state/m.room.name/"), map[string]any{"name": fmt.Sprint("room ", h.n)})
		},
		func() { do("POST", inRoom(room, "join"), map[string]any{}) },
		func() { do("POST", inRoom(room, "join"), map[string]any{}) },
		func() { do("POST", inRoom(room, "leave"), map[string]any{}) },
		func() { do("POST", inRoom(room, "invite"), map[string]any{"user_id": target.id}) },
		func() { do("POST", inRoom(room, "kick"), map[string]any{"user_id": target.id}) },
		func() { do("POST", inRoom(room, "ban"), map[string]any{"user_id": target.id}) },
		func() { do("POST", inRoom(room, "unban"), map[string]any{"user_id": target.id}) },
		func() {
			do("PUT", clientV3+"/profile/"+u.id+"/displayname", map[string]any{"displayname": fmt.Sprint("I am ", h.n)})
		},
		func() {
			if said := h.said[room]; len(said) > 0 {
				do("PUT", inRoom(room, fmt.Sprint("redact/", said[h.r.IntN(len(said))], "/", h.n)), map[string]any{})
			}
		},
		func() { h.read(u, room, []string{"m.read", "m.read.private"}[h.r.IntN(2)]) },
		func() { h.read(u, room, "m.read") },
		func() { do("PUT", clientV3+"/user/"+u.id+"/account_data/org.example", map[string]any{"n": h.n}) },
		func() {
			do("PUT", clientV3+"/user/"+u.id+"/rooms/"+room+"/account_data/org.example", map[string]any{"n": h.n})
		},
		func() { h.tell(u, target) },
	}
	actions[h.r.IntN(len(actions))]()
}

// read moves somebody's receipt to the newest event, which those who know the room are to
// hear of.
func (h *history) read(u *user, room, kind string) {
	said := h.said[room]
	if len(said) == 0 {
		return
	}
	last := said[len(said)-1]
	if a := u.do(h.t, "POST", inRoom(room, "receipt/"+kind+"/"+last), map[string]any{}); a.status != http.StatusOK {
		return
	}
	for _, w := range h.witnesses {
		if k := w.rooms[room]; k != nil && k.membership == "join" && (kind == "m.read" || w.u.id == u.id) {
			k.expect[kind+" "+u.id] = last
		}
	}
}

// tell sends a message to all devices of somebody.
func (h *history) tell(u, target *user) {
	u.ok(h.t, "PUT", fmt.Sprintf("%s/sendToDevice/org.example/%d", clientV3, h.n), map[string]any{
		"messages": map[string]any{target.id: map[string]any{"*": map[string]any{"n": h.n}}}})
	for _, w := range h.witnesses {
		if w.u.id == target.id {
			w.sent = append(w.sent, strconv.Itoa(h.n))
		}
	}
}

// end has all devices learn the rest, and compares.
func (h *history) end() {
	h.t.Helper()
	for _, w := range h.witnesses {
		w.wide = true
		for range 3 {
			w.read(h.t)
		}
	}
	for _, u := range h.people {
		for _, room := range h.rooms {
			h.compare(u, room)
		}
	}
	for _, w := range h.witnesses {
		if !slices.Equal(w.heard, w.sent) {
			h.t.Errorf("%s by %s has had the messages %v instead of %v", w.u.id, w.kind, w.heard, w.sent)
		}
		stored := w.u.do(h.t, "GET", clientV3+"/user/"+w.u.id+"/account_data/org.example", nil)
		if stored.status == http.StatusOK && w.data["org.example"] != stored.json().Raw {
			h.t.Errorf("%s by %s has the account data %s instead of %s", w.u.id, w.kind, w.data["org.example"], stored)
		}
	}
}

// compare holds what somebody's devices know of a room against what they are told when they
// ask for it.
func (h *history) compare(u *user, room string) {
	h.t.Helper()
	membership := "leave"
	members := h.people[0].do(h.t, "GET", inRoom(room, "state/m.room.member/"+u.id), nil)
	if m := u.do(h.t, "GET", inRoom(room, "state/m.room.member/"+u.id), nil); m.status == http.StatusOK {
		membership = m.json().Get("membership").String()
	} else if members.status == http.StatusOK && members.json().Get("membership").String() == "invite" {
		membership = "invite"
	}
	state := map[string]string{}
	for _, e := range u.do(h.t, "GET", inRoom(room, "state"), nil).json().Array() {
		state[e.Get("type").String()+"|"+e.Get("state_key").String()] = e.Get("event_id").String()
	}
	told := backwardsIfAllowed(h.t, u, room)
	if membership == "ban" {
		membership = "leave" // which /sync doesn't tell apart
	}
	data := u.do(h.t, "GET", clientV3+"/user/"+u.id+"/rooms/"+room+"/account_data/org.example", nil)
	for _, w := range h.witnesses {
		k := w.rooms[room]
		if w.u.id != u.id || k == nil && membership != "join" && membership != "invite" {
			continue // of what was left long ago nothing is told
		}
		name := fmt.Sprintf("%s (%s) in %s", u.id, w.kind, room)
		if k == nil || strings.Replace(k.membership, "ban", "leave", 1) != membership {
			h.t.Errorf("%s is %s instead of %s", name, k, membership)
			continue
		}
		if membership != "join" {
			continue
		}
		if !slices.Equal(k.timeline, told[max(0, len(told)-len(k.timeline)):]) || len(k.timeline) == 0 {
			h.t.Errorf("%s: the timeline ends with\n%v\ninstead of\n%v", name, k.timeline, told[max(0, len(told)-len(k.timeline)):])
		}
		if fmt.Sprint(k.state) != fmt.Sprint(state) {
			h.t.Errorf("%s: the state is\n%v\ninstead of\n%v", name, k.state, state)
		}
		for key, id := range k.expect {
			if k.receipts[key] != id {
				h.t.Errorf("%s: the receipt %s is for %q instead of %s", name, key, k.receipts[key], id)
			}
		}
		if data.status == http.StatusOK && k.data != data.json().Raw {
			h.t.Errorf("%s: the account data is %s instead of %s", name, k.data, data)
		}
	}
}

// backwardsIfAllowed is the room's timeline as /messages has it, oldest first.
func backwardsIfAllowed(t *testing.T, u *user, room string) (ids []string) {
	from := ""
	for {
		a := u.do(t, "GET", inRoom(room, "messages?dir=b&limit=100"+from), nil)
		for _, e := range a.json().Get("chunk").Array() {
			ids = append(ids, e.Get("event_id").String())
		}
		end := a.json().Get("end").String()
		if end == "" || a.status != http.StatusOK {
			slices.Reverse(ids)
			return ids
		}
		from = "&from=" + url.QueryEscape(end)
	}
}

func (k *knownRoom) String() string {
	if k == nil {
		return "not told anything"
	}
	return strings.TrimSpace("in state " + k.membership)
}
