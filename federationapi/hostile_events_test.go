package federationapi

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/roomserver"
)

// hostile is an event that nobody may take.
type hostile struct {
	name string
	text json.RawMessage
}

// attack is what a server in a room knows that means no good.
type attack struct {
	t       *testing.T
	by      *hearth // the server, whose user mallory is in the room, without power
	mallory string
	version string
	room    *roomserver.View
	said    string // by somebody else
	elsewhere,
	alice string // an event of another room, and a user of another server
}

// event is an event of mallory's that is as it should be.
func (a *attack) event(change object) object {
	var auth []string
	for _, t := range [][2]string{{"m.room.create", ""}, {"m.room.power_levels", ""}, {"m.room.member", a.mallory}} {
		entry, _ := a.room.Entry(t[0], t[1])
		if t[0] != "m.room.create" || a.version != "12" {
			auth = append(auth, entry.EventID)
		}
	}
	e := object{"type": "m.room.message", "room_id": a.room.Room.ID, "sender": a.mallory, "content": object{"msgtype": "m.text", "body": "hostile"},
		"depth": a.room.Room.Depth + 1, "origin_server_ts": 1_700_000_000_000, "prev_events": a.refs(a.room.Room.ForwardExtremities), "auth_events": a.refs(auth)}
	if a.version == "2" {
		e["event_id"] = "$hostile:" + a.by.name
	}
	maps.Copy(e, change)
	for k, v := range e {
		if v == nil {
			delete(e, k)
		}
	}
	return e
}

// refs refers to events as the room's version does.
func (a *attack) refs(ids []string) any {
	if a.version != "2" {
		return ids
	}
	var refs [][]any
	for _, id := range ids {
		refs = append(refs, []any{id, object{"sha256": strings.Repeat("A", 43)}})
	}
	return refs
}

func (a *attack) auth(more ...string) any {
	return a.refs(slices.Concat(a.ids("auth_events"), more))
}

// ids are those that a good event refers to.
func (a *attack) ids(member string) (ids []string) {
	switch refs := a.event(nil)[member].(type) {
	case []string:
		return refs
	case [][]any:
		for _, r := range refs {
			ids = append(ids, r[0].(string))
		}
	}
	return ids
}

// sign hashes and signs an event with a server's key.
func (a *attack) sign(e object, server string, key ed25519.PrivateKey) json.RawMessage {
	must := func(text []byte, err error) []byte {
		if err != nil {
			a.t.Fatalf("%v: %v", e, err)
		}
		return text
	}
	hash := sha256.Sum256(must(gomatrixserverlib.CanonicalJSON(must(json.Marshal(e)))))
	e = maps.Clone(e)
	e["hashes"] = object{"sha256": base64.RawStdEncoding.EncodeToString(hash[:])}
	version := gomatrixserverlib.MustGetRoomVersion(gomatrixserverlib.RoomVersion(a.version))
	redacted, err := version.RedactEventJSON(must(json.Marshal(e)))
	if err != nil { // what can't be redacted can't be signed
		return must(json.Marshal(e))
	}
	var signed struct {
		Signatures json.RawMessage `json:"signatures"`
	}
	if err := json.Unmarshal(must(gomatrixserverlib.SignJSON(server, "ed25519:a", key, redacted)), &signed); err != nil {
		a.t.Fatal(err)
	}
	e["signatures"] = signed.Signatures
	return must(json.Marshal(e))
}

func (a *attack) own(e object) json.RawMessage { return a.sign(e, a.by.name, a.by.key) }

// list is the table of hostile events.
func (a *attack) list() []hostile {
	_, stranger, _ := ed25519.GenerateKey(nil) // never fails with the system's randomness
	good := string(a.own(a.event(nil)))
	swap := func(old, new string) json.RawMessage { return json.RawMessage(strings.Replace(good, old, new, 1)) }
	list := []hostile{
		{"bad signature", swap(`"ed25519:a":"`, `"ed25519:a":"AAAA`)},
		{"no signature", swap(`"signatures":`, `"unsigned":`)},
		{"another's key", a.sign(a.event(nil), a.by.name, stranger)},
		{"another server's sender", a.own(a.event(object{"sender": a.alice}))},
		{"changed after it was hashed", swap(`"body":"hostile"`, `"body":"hostile changed"`)},
		{"two senders", swap(`"sender":"`+a.mallory, `"sender":"`+a.alice+`","Sender":"`+a.mallory)},
		{"two kinds", swap(`"type":"`, `"type":"m.room.topic","state_key":"","TYPE":"`)},
		{"a member twice", swap(`"type":`, `"type":"m.room.other","type":`)},
		{"no UTF-8", swap("hostile", "hostile \xff")},
		{"no object", json.RawMessage(`"hostile"`)}, {"nothing", json.RawMessage(`null`)}, {"empty", json.RawMessage(`{}`)},
		{"nested", swap(`"body":`, `"x":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)+`,"body":`)},
	}
	for name, change := range a.changes() {
		list = append(list, hostile{name, a.own(a.event(change))})
	}
	return list
}

// changes are what makes an event of mallory's one that nobody may take.
func (a *attack) changes() map[string]object {
	body := func(more object) object {
		content := object{"msgtype": "m.text", "body": "hostile"}
		maps.Copy(content, more)
		return content
	}
	state := func(typ, key string, content object) object {
		return object{"type": typ, "state_key": key, "content": content}
	}
	member := func(user, membership string) object {
		return state("m.room.member", user, object{"membership": membership})
	}
	many := func(n int) (ids []string) { return slices.Repeat([]string{a.ids("prev_events")[0]}, n) }
	create, _ := a.room.Entry("m.room.create", "")
	levels, _ := a.room.Entry("m.room.power_levels", "")
	changes := map[string]object{
		"another room's":      {"room_id": "!nowhere:" + a.by.name},
		"no room's":           {"room_id": nil},
		"a room that is none": {"room_id": 5},
		"negative depth":      {"depth": -5},
		"depth as text":       {"depth": "7"},
		"depth too large":     {"depth": json.RawMessage("9223372036854775808")},
		"no content":          {"content": nil},
		"content as text":     {"content": "hostile"},
		"content as list":     {"content": []string{"hostile"}},
		"no type":             {"type": nil},
		"type as number":      {"type": 5},
		"NUL in the type":     {"type": "m.\x00"},
		"NUL in the key":      {"state_key": "a\x00b"},
		"long type":           {"type": strings.Repeat("t", 300)},
		"long key":            {"state_key": strings.Repeat("k", 300)},
		"key as number":       {"state_key": 5},
		"no sender":           {"sender": nil},
		"sender that is none": {"sender": "mallory"},
		"NUL in the sender":   {"sender": "@mal\x00lory:" + a.by.name},
		"who isn't there":     {"sender": "@stranger:" + a.by.name},
		"time as text":        {"origin_server_ts": "now"},
		"too large":           {"content": body(object{"x": strings.Repeat("x", 70_000)})},
		"after nothing":       {"prev_events": []string{}},
		"after text":          {"prev_events": "hostile"},
		"after numbers":       {"prev_events": []int{5}},
		"after too many":      {"prev_events": a.refs(many(21))},
		"by too many":         {"auth_events": a.refs(many(11))},
		"by nothing":          {"auth_events": []string{}},
		"by numbers":          {"auth_events": []int{1}},
		"by one twice":        {"auth_events": a.auth(levels.EventID)},
		"by what is no state": {"auth_events": a.auth(a.said)},
		"by another room's":   {"auth_events": a.auth(a.elsewhere)},
		"a second beginning":  {"type": "m.room.create", "state_key": "", "prev_events": []string{}, "auth_events": []string{}, "content": object{"room_version": a.version, "creator": a.mallory}},
		"another's ban":       member(a.alice, "ban"),
		"another's leave":     member(a.alice, "leave"),
		"another's join":      member("@new:"+a.by.name, "join"),
		"no membership":       state("m.room.member", a.mallory, object{"membership": 5}),
		"unknown membership":  member(a.mallory, "admin"),
		"own power":           state("m.room.power_levels", "", object{"users": object{a.mallory: 100}}),
		"another's state":     state("org.example", a.alice, object{"n": 1}),
		"a topic":             state("m.room.topic", "", object{"topic": "hostile"}),
	}
	if a.version == "12" {
		changes["by the beginning, which is named"] = object{"auth_events": a.auth(create.EventID)}
	} else {
		changes["not by the beginning"] = object{"auth_events": a.refs(slices.DeleteFunc(a.ids("auth_events"), func(id string) bool { return id == create.EventID }))}
	}
	if a.version == "2" {
		changes["after itself"] = object{"prev_events": a.refs([]string{"$hostile:" + a.by.name})}
		changes["by itself"] = object{"auth_events": a.auth("$hostile:" + a.by.name)}
		changes["another server's id"] = object{"event_id": "$x:" + strings.SplitN(a.alice, ":", 2)[1]}
		changes["another's id"] = object{"event_id": a.said}
		changes["NUL in the id"] = object{"event_id": "$a\x00b:" + a.by.name}
	} else {
		changes["a fraction"] = object{"content": body(object{"n": 1.5})}
		changes["a number too large"] = object{"content": body(object{"n": json.RawMessage("9007199254740992")})}
		changes["depth above all"] = object{"depth": json.RawMessage("9007199254740992")}
	}
	return changes
}

// settled has nothing hostile be known, seen or in effect in the room.
func (a *attack) settled(victim *hearth, state string) bool {
	a.t.Helper()
	well := true
	if now := victim.state(a.room.Room.ID); now != state {
		well = false
		a.t.Errorf("the state is %s, not %s", now, state)
	}
	for _, body := range victim.heard(a.room.Room.ID) {
		if strings.HasPrefix(body, "hostile") {
			well = false
			a.t.Errorf("%q is heard", body)
		}
	}
	if e := victim.event(a.room.Room.ID, a.said); e.RedactedBy != "" || !strings.Contains(string(e.JSON), "said") {
		well = false
		a.t.Errorf("what alice said has become %s", e.JSON)
	}
	return well
}

// newAttack has mallory of the second server come into a room of the first's.
func newAttack(t *testing.T, version string, victim, by *hearth) *attack {
	t.Helper()
	alice := victim.user("alice")
	a := &attack{t: t, by: by, mallory: by.user("mallory"), version: version, alice: alice}
	id := victim.room(version)
	a.elsewhere = func() string {
		other, err := victim.rooms.CreateRoom(background(t), roomserver.CreateRoomRequest{Creator: alice, Version: version, Preset: "private_chat"})
		if err != nil {
			t.Fatal(err)
		}
		v, err := victim.rooms.View(background(t), other)
		if err != nil {
			t.Fatal(err)
		}
		e, _ := v.Entry("m.room.join_rules", "")
		return e.EventID
	}()
	by.join(id, a.mallory, victim)
	a.said = victim.say(id, alice, "said")
	a.look(victim, id)
	return a
}

// look has the attacker know the room as it is.
func (a *attack) look(victim *hearth, id string) {
	a.t.Helper()
	v, err := victim.rooms.View(background(a.t), id)
	if err != nil {
		a.t.Fatal(err)
	}
	a.room = v
}
