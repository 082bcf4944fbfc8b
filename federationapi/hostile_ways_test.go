package federationapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/federationapi/client"
	"hearth/roomserver"
)

var attackedVersions = []string{"2", "10", "12"}

// TestHostileTransactions sends hostile events, each between two good ones.
func TestHostileTransactions(t *testing.T) {
	for _, version := range attackedVersions {
		t.Run(version, func(t *testing.T) {
			all := newHearths(t, 2, nil)
			one, two := all[0], all[1]
			a := newAttack(t, version, one, two)
			state := one.state(a.room.Room.ID)
			for i, h := range a.list() {
				word := fmt.Sprint("word ", i)
				good := object{"content": object{"msgtype": "m.text", "body": word}}
				if version == "2" {
					good["event_id"] = fmt.Sprintf("$good%d:%s", i, two.name)
				}
				answer, err := two.client.Do(background(t), client.Request{Method: "PUT", Server: one.name, URI: fmt.Sprintf("/_matrix/federation/v1/send/t%d", i),
					Body: rawBody(h.text, a.own(a.event(good)))})
				if h.name == "no UTF-8" && err != nil {
					continue // nothing is JSON that has it
				}
				if heard := one.heard(a.room.Room.ID); err != nil || !slices.Contains(heard, word) {
					t.Errorf("%s: %v %s; alice hears %v", h.name, err, answer, heard)
				}
				if !a.settled(one, state) {
					t.Fatalf("%s: %s", h.name, h.text)
				}
			}
			deepest := object{"depth": json.RawMessage("9007199254740991"), "content": object{"body": "deep"}}
			if version == "2" {
				deepest["event_id"], deepest["depth"] = "$deep:"+two.name, json.RawMessage("9223372036854775807")
			}
			a.look(one, a.room.Room.ID)
			if _, err := two.client.Do(background(t), client.Request{Method: "PUT", Server: one.name, URI: "/_matrix/federation/v1/send/deep", Body: rawBody(a.own(a.event(deepest)))}); err != nil {
				t.Fatal(err)
			}
			one.say(a.room.Room.ID, a.alice, "after the deepest")
			one.member(a.room.Room.ID, a.alice, "join")
			one.send(a.room.Room.ID, a.alice, "m.room.topic", new(""), object{"topic": "deep"})
		})
	}
}

// rawBody is a transaction as it is written, whatever stands in it.
func rawBody(events ...json.RawMessage) json.RawMessage {
	var b strings.Builder
	for i, e := range events {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(e)
	}
	return json.RawMessage(`{"pdus":[` + b.String() + `]}`)
}

// lies is a server's front that answers some paths with something else.
type lies map[string]func(r *http.Request) any

func (l lies) front(w http.ResponseWriter, r *http.Request, server http.Handler) {
	for path, tell := range l {
		if strings.Contains(r.URL.Path, path) {
			_ = json.NewEncoder(w).Encode(tell(r)) // a server that has hung up hears nothing
			return
		}
	}
	server.ServeHTTP(w, r)
}

func (h *hearth) tell(l lies) {
	front := l.front
	h.front.Store(&front)
}

func texts(list []hostile) (events []json.RawMessage) {
	for _, h := range list {
		if json.Valid(h.text) {
			events = append(events, h.text)
		}
	}
	return events
}

// TestHostileAnswers has a server answer with hostile events whatever it is asked: for
// missing events, the past, the state before an event, and single events.
func TestHostileAnswers(t *testing.T) {
	for _, version := range attackedVersions {
		t.Run(version, func(t *testing.T) {
			all := newHearths(t, 2, nil)
			one, two := all[0], all[1]
			a := newAttack(t, version, one, two)
			state := one.state(a.room.Room.ID)
			bad := texts(a.list())
			id := func(n int) object {
				if version == "2" {
					return object{"event_id": fmt.Sprintf("$later%d:%s", n, two.name)}
				}
				return object{}
			}
			var next atomic.Int64
			two.tell(lies{
				"/get_missing_events/": func(*http.Request) any { return object{"events": bad} },
				"/backfill/":           func(*http.Request) any { return object{"pdus": bad} },
				"/state_ids/": func(*http.Request) any {
					var ids, chain []string
					for _, t := range [][2]string{{"m.room.create", ""}, {"m.room.power_levels", ""}, {"m.room.join_rules", ""}, {"m.room.member", a.alice}, {"m.room.member", a.mallory}} {
						e, _ := a.room.Entry(t[0], t[1])
						ids = append(ids, e.EventID)
					}
					for n := range bad {
						chain = append(chain, fmt.Sprintf("$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%05d", n))
					}
					return object{"pdu_ids": append(ids, chain...), "auth_chain_ids": append(chain, ids...)}
				},
				"/event/": func(*http.Request) any { return object{"pdus": bad[int(next.Add(1))%len(bad):][:1]} },
			})
			for n := range 2 { // after what nobody has
				unknown := "$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
				later := a.event(id(n))
				later["prev_events"] = a.refs([]string{unknown})
				later["content"] = object{"msgtype": "m.text", "body": fmt.Sprint("later ", n)}
				if _, err := two.client.Do(background(t), client.Request{Method: "PUT", Server: one.name,
					URI: fmt.Sprintf("/_matrix/federation/v1/send/l%d", n), Body: rawBody(a.own(later))}); err != nil {
					t.Error(err)
				}
			}
			for range 3 {
				one.fill(a.room.Room.ID)
			}
			same(t, "what alice hears", one.heard(a.room.Room.ID), "said", "later 0", "later 1")
			one.say(a.room.Room.ID, a.alice, "still here")
			a.settled(one, state)
		})
	}
}

// TestHostileRoom has a server hand over a room with hostile events among what is good.
func TestHostileRoom(t *testing.T) {
	for _, version := range attackedVersions {
		t.Run(version, func(t *testing.T) {
			all := newHearths(t, 3, nil)
			one, two, three := all[0], all[1], all[2]
			a := newAttack(t, version, one, two)
			carol := three.user("carol")
			levels, _ := a.room.Entry("m.room.power_levels", "")
			for _, more := range [][]json.RawMessage{texts(a.list()), a.stolenPower(levels.EventID)} {
				front := func(w http.ResponseWriter, r *http.Request, server http.Handler) {
					rec := httptest.NewRecorder()
					server.ServeHTTP(rec, r)
					answer := rec.Body.Bytes()
					if strings.Contains(r.URL.Path, "/send_join/") {
						var room object
						if err := json.Unmarshal(answer, &room); err != nil {
							t.Error(err)
						}
						for _, e := range more {
							room["state"], room["auth_chain"] = append(room["state"].([]any), e), append(room["auth_chain"].([]any), e)
						}
						answer, _ = json.Marshal(room) // it was JSON
					}
					w.WriteHeader(rec.Code)
					_, _ = w.Write(answer)
				}
				two.front.Store(&front)
				content, err := three.rooms.MemberContent(background(t), roomserver.MembershipRequest{RoomID: a.room.Room.ID, Sender: carol, Target: carol, Membership: "join"})
				if err != nil {
					t.Fatal(err)
				}
				err = three.api.Join(background(t), a.room.Room.ID, carol, []string{two.name}, content)
				v, viewErr := three.rooms.View(background(t), a.room.Room.ID)
				if viewErr != nil {
					t.Logf("the join fails: %v", err)
					continue
				}
				if e, _ := v.Entry("m.room.topic", ""); e.EventID != "" {
					t.Errorf("%s is the topic", e.EventID)
				}
				if e, _ := v.Entry("m.room.power_levels", ""); e.EventID != levels.EventID {
					t.Errorf("%s are the power levels", e.EventID)
				}
				if v.Membership(a.alice) != "join" {
					t.Error("alice isn't in the room")
				}
			}
		})
	}
}

// stolenPower are power levels of mallory's that nothing allows, and a topic that rests on
// them.
func (a *attack) stolenPower(levels string) []json.RawMessage {
	power := a.event(object{"type": "m.room.power_levels", "state_key": "", "content": object{"users": object{a.mallory: 100}}})
	topic := object{"type": "m.room.topic", "state_key": "", "content": object{"topic": "hostile"}}
	if a.version == "2" {
		power["event_id"], topic["event_id"] = "$power:"+a.by.name, "$topic:"+a.by.name
	}
	stolen := a.own(power)
	pdu, err := parseEvent(gomatrixserverlib.RoomVersion(a.version), stolen)
	if err != nil {
		a.t.Fatal(err)
	}
	topic["auth_events"] = a.refs(append(slices.DeleteFunc(a.ids("auth_events"), func(id string) bool { return id == levels }), pdu.EventID()))
	return []json.RawMessage{stolen, a.own(a.event(topic))}
}

// TestHostileMemberships sends hostile events by the ways that memberships have of their
// own: each is refused with a reason.
func TestHostileMemberships(t *testing.T) {
	for _, version := range attackedVersions {
		t.Run(version, func(t *testing.T) {
			all := newHearths(t, 2, nil)
			one, two := all[0], all[1]
			a := newAttack(t, version, one, two)
			state := one.state(a.room.Room.ID)
			for _, h := range a.list() {
				id := "$unknown:" + two.name
				if pdu, err := parseEvent(gomatrixserverlib.RoomVersion(version), h.text); err == nil {
					id = pdu.EventID()
				}
				invite := object{"event": h.text, "room_version": version, "invite_room_state": []any{h.text, 5, nil}}
				for path, body := range map[string]any{"v1/send_join": h.text, "v2/send_join": h.text, "v1/send_leave": h.text, "v2/send_leave": h.text,
					"v1/send_knock": h.text, "v1/invite": h.text, "v2/invite": invite, "v1/exchange_third_party_invite": h.text} {
					target := client.Path("/_matrix/federation/"+path, a.room.Room.ID, id)
					if strings.Contains(path, "exchange") {
						target = client.Path("/_matrix/federation/"+path, a.room.Room.ID)
					}
					_, err := two.client.Do(background(t), client.Request{Method: "PUT", Server: one.name, URI: target, Body: body})
					var e *client.RemoteError
					if h.name != "no UTF-8" && (!errors.As(err, &e) || e.Status < 400 || e.Status > 404 || e.Code == "") {
						t.Errorf("%s by %s: %v", h.name, path, err)
					}
				}
				if !a.settled(one, state) {
					t.Fatalf("%s: %s", h.name, h.text)
				}
			}
		})
	}
}

// TestHostileTemplates has a server ask for other things to be signed than what was asked
// of it.
func TestHostileTemplates(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := one.user("alice"), two.user("bob")
	room := two.room("10")
	good := func() object {
		return object{"type": "m.room.member", "room_id": room, "sender": alice, "state_key": alice, "content": object{"membership": "join"},
			"depth": 5, "prev_events": []string{"$x"}, "auth_events": []string{"$y"}}
	}
	for name, change := range map[string]any{
		"type": "m.room.message", "room_id": "!other:" + two.name, "sender": bob, "state_key": bob, "content": object{"membership": "ban"},
		"redacts": "$z", "depth": "x", "prev_events": 5, "auth_events": "x",
	} {
		template := good()
		template[name] = change
		asked := false
		two.tell(lies{"/make_join/": func(*http.Request) any { return object{"room_version": "10", "event": template} },
			"/send_join/": func(*http.Request) any { asked = true; return object{} }})
		err := one.api.Join(background(t), room, alice, []string{two.name}, object{"membership": "join"})
		if err == nil || asked && name != "depth" && name != "prev_events" && name != "auth_events" {
			t.Errorf("%s: %v, signed: %v", name, err, asked)
		}
	}
	for _, answer := range []any{nil, 5, "x", []any{}, object{}, object{"state": 5}, object{"state": []any{}, "auth_chain": []any{}}, object{"event": good()},
		object{"state": []any{nil, 5, object{}}, "auth_chain": []any{"x"}}} {
		two.tell(lies{"/make_join/": func(*http.Request) any { return object{"room_version": "10", "event": good()} },
			"/send_join/": func(*http.Request) any { return answer }})
		if err := one.api.Join(background(t), room, alice, []string{two.name}, object{"membership": "join"}); err == nil {
			t.Errorf("%v is a room", answer)
		}
		if _, err := one.rooms.View(background(t), room); err == nil {
			t.Errorf("%v has made a room", answer)
		}
	}
}

// FuzzParseEvent reads events of any text, in every form that they have: what isn't one is
// refused, and nothing else happens.
func FuzzParseEvent(f *testing.F) {
	for _, text := range []string{"null", "5", "[]", "{}", `{"depth":1}`, `{"room_id":"!x:y","sender":"@a:y","type":"m.room.member","content":null,"depth":1}`,
		`{"room_id":"!x:y","sender":"@a:y","event_id":"$x:y","type":"m.room.create","content":{"additional_creators":5},"depth":1,"prev_events":[["$x",{}]],"auth_events":[[]],"hashes":{"sha256":"A"},"signatures":{"y":{"ed25519:a":"A"}}}`,
		`{"_room_version":"1"}`, `{"depth":1,"Depth":2}`, `{"depth":1,"hashes":null,"signatures":null,"prev_events":null,"auth_events":null,"state_key":null,"room_id":"!AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, version := range []gomatrixserverlib.RoomVersion{"1", "3", "5", "6", "11", "12"} {
			pdu, err := parseEvent(version, text)
			if err != nil {
				continue
			}
			_, _, _ = pdu.PrevEventIDs(), pdu.AuthEventIDs(), pdu.RoomID()
			_ = roomserver.Authorise(pdu, []gomatrixserverlib.PDU{pdu})
		}
	})
}
