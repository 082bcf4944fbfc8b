package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/tidwall/gjson"
)

// witness is a device that keeps what one kind of sync tells it, as a client would.
type witness struct {
	u     *user
	kind  string // v2, unstable or v4
	r     *rand.Rand
	since string
	// toDevice is up to where messages to the device were received, apart from since.
	toDevice string
	rooms    map[string]*knownRoom
	data     map[string]string
	// heard are the messages to the device that came, sent those that were to come.
	heard, sent []string
	// wide is whether the window is over all rooms.
	wide bool
}

// knownRoom is a room as the device knows it.
type knownRoom struct {
	membership string
	// timeline is the newest events without a gap between them.
	timeline []string
	state    map[string]string
	receipts map[string]string
	// expect are receipts that were sent while the device knew the room.
	expect map[string]string
	data   string
}

func newKnownRoom() *knownRoom {
	return &knownRoom{state: map[string]string{}, receipts: map[string]string{}, expect: map[string]string{}}
}

// look reads what is new, unless the answer gets lost or the device forgets everything.
func (w *witness) look(t *testing.T) {
	switch w.r.IntN(20) {
	case 0:
		w.ask(t)
	case 1:
		w.forget()
	default:
		w.read(t)
	}
}

func (w *witness) forget() {
	w.since, w.rooms, w.data = "", map[string]*knownRoom{}, map[string]string{}
}

// ask makes a request without taking note of its answer.
func (w *witness) ask(t *testing.T) answer {
	limit, first := 1+w.r.IntN(8), w.r.IntN(3)
	last := first + w.r.IntN(3)
	if w.wide {
		first, last = 0, 99
	}
	extensions := fmt.Sprintf(`{"to_device":{"enabled":true,"limit":3,"since":%q},"account_data":{"enabled":true},"receipts":{"enabled":true},"e2ee":{"enabled":true}}`, w.toDevice)
	list := fmt.Sprintf(`"timeline_limit":%d,"filters":{"not_room_types":["m.space"]}`, limit)
	switch w.kind {
	case "v2":
		filter := fmt.Sprintf(`{"room":{"timeline":{"limit":%d}}}`, limit)
		return w.u.do(t, "GET", syncPath(w.since, filter, 0)+"&use_state_after=true", nil)
	case "v4":
		return w.u.do(t, "POST", "/_matrix/client/v4/sync", fmt.Sprintf(`{"pos":%q,"lists":{"l":{"range":[%d,%d],"required_state":{"include":[{}]},%s}},"extensions":%s}`,
			w.since, first, last, list, extensions))
	}
	return w.u.do(t, "POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?pos="+url.QueryEscape(w.since),
		fmt.Sprintf(`{"lists":{"l":{"ranges":[[%d,%d]],"required_state":[["*","*"]],%s}},"extensions":%s}`, first, last, list, extensions))
}

// read takes note of an answer.
func (w *witness) read(t *testing.T) {
	t.Helper()
	a := w.ask(t)
	if a.status == http.StatusBadRequest && a.errcode() == "M_UNKNOWN_POS" {
		w.forget()
		a = w.ask(t)
	}
	if a.status != http.StatusOK {
		t.Fatalf("%s by %s: %s", w.u.id, w.kind, a)
	}
	if w.kind == "v2" {
		w.readV2(a.json())
		return
	}
	w.since = a.json().Get("pos").String()
	for room, told := range a.json().Get("rooms").Map() {
		w.readRoom(room, told)
	}
	x := a.json().Get("extensions")
	w.hear(x.Get("to_device.events"))
	w.toDevice = x.Get("to_device.next_batch").String()
	w.note(x.Get("account_data.global"))
	for room, receipts := range x.Get("receipts.rooms").Map() {
		w.rooms[room].noteReceipts(receipts)
	}
	for room, data := range x.Get("account_data.rooms").Map() {
		if k := w.rooms[room]; k != nil {
			k.noteData(data)
		}
	}
}

func (w *witness) readRoom(room string, told gjson.Result) {
	k := w.rooms[room]
	if k == nil || told.Get("initial").Bool() {
		w.anew(room)
		k = w.rooms[room]
	}
	anew := told.Get("initial").Bool() || told.Get("limited").Bool() || told.Get("expanded_timeline").Bool() || told.Get("unstable_expanded_timeline").Bool()
	k.noteTimeline(told.Get("timeline"), anew)
	k.noteState(told.Get("required_state"), w.u.id)
	if told.Get("invite_state").Exists() || told.Get("stripped_state").Exists() {
		k.membership = "invite"
	}
	if m := told.Get("membership"); m.Exists() {
		k.membership = m.String()
	}
}

// anew begins a room anew, apart from what isn't the room's but the user's.
func (w *witness) anew(room string) {
	k := newKnownRoom()
	if before := w.rooms[room]; before != nil {
		k.receipts, k.data = before.receipts, before.data
	}
	w.rooms[room] = k
}

func (w *witness) readV2(a gjson.Result) {
	w.since = a.Get("next_batch").String()
	w.hear(a.Get("to_device.events"))
	w.note(a.Get("account_data.events"))
	for section, membership := range map[string]string{"join": "join", "leave": "leave", "invite": "invite"} {
		for room, told := range a.Get("rooms." + section).Map() {
			k := w.rooms[room]
			if k == nil || membership == "join" && k.membership != "join" {
				w.anew(room)
				k = w.rooms[room]
			}
			k.membership = membership
			k.noteTimeline(told.Get("timeline.events"), told.Get("timeline.limited").Bool())
			k.noteState(told.Get("state_after.events"), w.u.id)
			k.membership = membership
			k.noteReceipts(told.Get(`ephemeral.events.#(type=="m.receipt")`))
			k.noteData(told.Get("account_data.events"))
		}
	}
}

func (k *knownRoom) noteTimeline(events gjson.Result, anew bool) {
	if anew {
		k.timeline = nil
	}
	for _, e := range events.Array() {
		k.timeline = append(k.timeline, e.Get("event_id").String())
	}
}

func (k *knownRoom) noteState(events gjson.Result, me string) {
	for _, e := range events.Array() {
		key := e.Get("type").String() + "|" + e.Get("state_key").String()
		if !e.Get("content").Exists() {
			delete(k.state, key)
			continue
		}
		if k.state[key] = e.Get("event_id").String(); key == "m.room.member|"+me {
			k.membership = e.Get("content.membership").String()
		}
	}
}

func (k *knownRoom) noteReceipts(event gjson.Result) {
	for id, kinds := range event.Get("content").Map() {
		for kind, users := range kinds.Map() {
			for user := range users.Map() {
				k.receipts[kind+" "+user] = id
			}
		}
	}
}

func (k *knownRoom) noteData(events gjson.Result) {
	for _, d := range events.Array() {
		if d.Get("type").String() == "org.example" {
			k.data = d.Get("content").Raw
		}
	}
}

func (w *witness) note(events gjson.Result) {
	for _, d := range events.Array() {
		w.data[d.Get("type").String()] = d.Get("content").Raw
	}
}

func (w *witness) hear(events gjson.Result) {
	for _, e := range events.Array() {
		n := e.Get("content.n").String()
		if w.kind == "v2" && slices.Contains(w.heard, n) {
			continue // a first sync brings again what wasn't acknowledged
		}
		w.heard = append(w.heard, n)
	}
}
