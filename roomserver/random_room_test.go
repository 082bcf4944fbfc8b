package roomserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/spec"
)

// randomRoom is a room that is made up at random, with the reference's view of it. All its
// users are of other servers: nothing happens in it that isn't received.
type randomRoom struct {
	refRoom
	t      *testing.T
	seed   uint64
	rand   *rand.Rand
	impl   gomatrixserverlib.IRoomVersion
	id     string
	users  []string
	events []*refEvent // that came after the import
	pdus   map[*refEvent]gomatrixserverlib.PDU
	first  Import
}

// newRandomRoom makes a room of up to two creators, whose events are of few different
// moments, so that often only their ids decide.
func newRandomRoom(t *testing.T, version int, seed uint64) *randomRoom {
	impl, err := gomatrixserverlib.GetRoomVersion(gomatrixserverlib.RoomVersion(fmt.Sprint(version)))
	if err != nil {
		t.Fatal(err)
	}
	r := &randomRoom{t: t, seed: seed, rand: rand.New(rand.NewPCG(seed, uint64(version))), impl: impl, id: fmt.Sprintf("!%d-%d:one.local", version, seed), pdus: map[*refEvent]gomatrixserverlib.PDU{},
		users: []string{"@alice:one.local", "@bob:one.local", "@carol:two.local", "@dave:two.local", "@erin:three.local", "@frank:three.local"}}
	r.version = version
	alice, bob := r.users[0], r.users[1]
	made := map[string]any{"room_version": fmt.Sprint(version), "seed": fmt.Sprint(seed)}
	users := map[string]any{alice: r.level(100)}
	switch {
	case version >= 12:
		r.id = ""
		users = map[string]any{r.users[2]: 50}
		if r.rand.IntN(2) == 0 {
			made["additional_creators"] = []string{r.users[3]}
		}
	case version < 11:
		made["creator"] = alice
	}
	base := []*refEvent{
		{typ: "m.room.create", content: made},
		{typ: "m.room.member", key: &alice, content: map[string]any{"membership": "join"}},
		{typ: "m.room.power_levels", content: map[string]any{"users": users, "events": map[string]any{"m.room.topic": r.level(0), "m.room.power_levels": r.level(50)}}},
		{typ: "m.room.join_rules", content: map[string]any{"join_rule": "public"}},
		{typ: "m.room.member", key: &bob, sender: bob, content: map[string]any{"membership": "join"}},
	}
	if r.rand.IntN(4) == 0 { // without power levels
		base = slices.Delete(base, 2, 3)
	}
	state := refState{}
	for i, e := range base {
		if e.key == nil {
			e.key = new("")
		}
		if e.sender == "" {
			e.sender = alice
		}
		if i > 0 {
			e.prev = base[i-1 : i]
		}
		e.auth = r.authFrom(state, e)
		e.before = maps.Clone(state)
		r.build(e, int64(i))
		if i == 0 {
			r.create, r.id = e, r.pdus[e].RoomID().String()
		}
		state[e.tuple()] = e
	}
	last := base[len(base)-1]
	for _, e := range base[:len(base)-1] {
		r.first.State = append(r.first.State, r.pdus[e])
	}
	r.first.RoomID, r.first.Version, r.first.Auth, r.first.Join = r.id, impl.Version(), r.first.State, r.pdus[last]
	r.ends, r.events = []*refEvent{last}, []*refEvent{last}
	return r
}

// level is a level as versions before 10 may write it.
func (r *randomRoom) level(n int64) any {
	if r.version < 10 && r.rand.IntN(4) == 0 {
		return fmt.Sprintf(" +%d ", n)
	}
	return n
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func (r *randomRoom) authFrom(state refState, e *refEvent) (auth []*refEvent) {
	for _, t := range r.selection(e) {
		if a := state[t]; a != nil && !slices.Contains(auth, a) && (a.typ != "m.room.create" || r.version < 12) {
			auth = append(auth, a)
		}
	}
	return auth
}

// build makes the real event of what the reference has.
func (r *randomRoom) build(e *refEvent, ms int64) {
	ids := func(list []*refEvent) []string {
		ids := []string{}
		for _, e := range list {
			ids = append(ids, e.id)
		}
		return ids
	}
	var depth int64
	for _, p := range e.prev {
		depth = max(depth, r.pdus[p].Depth())
	}
	proto := &gomatrixserverlib.ProtoEvent{SenderID: e.sender, RoomID: r.id, Type: e.typ, StateKey: e.key, Redacts: e.redacts,
		PrevEvents: ids(e.prev), AuthEvents: ids(e.auth), Depth: depth + 1}
	if err := proto.SetContent(e.content); err != nil {
		r.t.Fatal(err)
	}
	at := time.UnixMilli(1_700_000_000_000 + ms)
	pdu, err := r.impl.NewEventBuilderFromProtoEvent(proto).Build(at, spec.ServerName(domainOf(e.sender)), "ed25519:a", testKey)
	if err != nil {
		r.t.Fatal(err)
	}
	e.id, e.ts, e.depth = pdu.EventID(), at.UnixMilli(), pdu.Depth()
	d := json.NewDecoder(bytes.NewReader(pdu.Content()))
	d.UseNumber()
	e.content = nil
	if err := d.Decode(&e.content); err != nil {
		r.t.Fatal(err)
	}
	r.pdus[e] = pdu
}

// grow adds an event somewhere in the graph, most often one that is allowed there.
func (r *randomRoom) grow() {
	var e *refEvent
	for range 6 {
		e = r.something(r.somewhere())
		if trial := *e; r.byAuthEvents(&trial) && r.allowed(&trial, r.stateBefore(e.prev)) {
			break
		}
	}
	r.build(e, r.rand.Int64N(30))
	r.receive(e)
	r.events = append(r.events, e)
}

// somewhere are events to come after: the newest, or some of the last ones, rejected ones
// among them.
func (r *randomRoom) somewhere() (prev []*refEvent) {
	if n := len(r.ends); n > 3 || r.rand.IntN(3) == 0 {
		return slices.Clone(r.ends)
	}
	recent := r.events[max(0, len(r.events)-8):]
	for range pick(r.rand, 1, 1, 1, 2, 3) {
		if e := pick(r.rand, recent...); !slices.Contains(prev, e) {
			prev = append(prev, e)
		}
	}
	return prev
}

// something is an event that somebody sends after others.
func (r *randomRoom) something(prev []*refEvent) *refEvent {
	state := r.stateBefore(prev)
	e := &refEvent{prev: prev, sender: pick(r.rand, r.users...), content: map[string]any{}}
	other := pick(r.rand, r.users...)
	switch r.rand.IntN(24) {
	case 0:
		e.typ, e.content["body"] = "m.room.message", "hello"
	case 1:
		e.typ, e.redacts = "m.room.redaction", "$unknown:one.local"
	case 2:
		e.typ, e.key = pick(r.rand, "m.room.aliases", "m.room.third_party_invite"), new(pick(r.rand, "one.local", "two.local", "three.local"))
	case 3, 4, 5, 6:
		e.typ, e.key = pick(r.rand, "m.room.name", "m.room.topic", "org.example"), new(pick(r.rand, "", "", e.sender, other))
		e.content["n"] = r.rand.IntN(3)
	case 7, 8, 9, 10, 11, 12:
		e.typ, e.key = "m.room.power_levels", new("")
		e.content = r.otherLevels(state)
	case 13, 14, 15:
		e.typ, e.key = "m.room.join_rules", new("")
		e.content["join_rule"] = pick(r.rand, "public", "public", "invite", "knock", "restricted", "knock_restricted", "private")
	default:
		r.membership(e, other)
	}
	from := state
	if r.rand.IntN(5) == 0 { // authorised by what was elsewhere
		from = pick(r.rand, r.events...).after()
	}
	e.auth = r.authFrom(from, e)
	return e
}

func (r *randomRoom) membership(e *refEvent, other string) {
	e.typ, e.key = "m.room.member", &other
	e.content["membership"] = pick(r.rand, "invite", "leave", "leave", "ban", "ban")
	if r.rand.IntN(2) == 0 {
		e.key = &e.sender
		e.content["membership"] = pick(r.rand, "join", "join", "join", "leave", "knock")
		if r.rand.IntN(3) == 0 {
			e.content["join_authorised_via_users_server"] = other
		}
	}
}

// otherLevels is the state's power levels with something changed.
func (r *randomRoom) otherLevels(state refState) map[string]any {
	content := map[string]any{"users": map[string]any{}, "events": map[string]any{}, "notifications": map[string]any{}}
	if old := state[tuple{"m.room.power_levels", ""}]; old != nil {
		for k, v := range old.content {
			if object, ok := v.(map[string]any); ok {
				v = maps.Clone(object)
			}
			content[k] = v
		}
	}
	set := func(object map[string]any, key string) {
		if r.rand.IntN(6) == 0 {
			delete(object, key)
			return
		}
		object[key] = r.level(pick[int64](r.rand, 0, 25, 50, 50, 75, 100, 101))
	}
	for range pick(r.rand, 1, 1, 2) {
		name := pick(r.rand, "users", "users", "users", "events", "notifications", "")
		object, ok := content[name].(map[string]any)
		switch {
		case name == "":
			set(content, pick(r.rand, "users_default", "events_default", "state_default", "ban", "kick", "redact", "invite"))
		case !ok:
			content[name] = map[string]any{}
		case name == "users":
			set(object, pick(r.rand, r.users...))
		case name == "events":
			set(object, pick(r.rand, "m.room.name", "m.room.topic", "m.room.power_levels", "m.room.message"))
		default:
			set(object, "room")
		}
	}
	return content
}
