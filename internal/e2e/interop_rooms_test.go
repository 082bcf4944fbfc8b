package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// makeRoom is createRoom of a version, with a preset and what else it has.
func (p party) makeRoom(t *testing.T, preset, version string, more map[string]any) string {
	t.Helper()
	body := map[string]any{"preset": preset, "room_version": version}
	for k, v := range more {
		body[k] = v
	}
	return p.createRoom(t, body)
}

// joinBy joins a room by way of a server.
func (p party) joinBy(t *testing.T, room, server string) {
	t.Helper()
	p.ok(t, "POST", clientV3+"/join/"+url.PathEscape(room)+by(server), map[string]any{})
}

// by names a server in both ways that servers know.
func by(server string) string {
	return "?server_name=" + url.QueryEscape(server) + "&via=" + url.QueryEscape(server)
}

// sees waits until somebody in the room sees that another has a membership.
func (p party) sees(t *testing.T, room, who, membership string) {
	t.Helper()
	waitFor(t, p.id+" sees "+who+" "+membership, func() bool {
		return p.do(t, "GET", inRoom(room, "state/m.room.member/"+url.PathEscape(who)), nil).json().Get("membership").Str == membership
	})
}

// invited waits until there is an invitation.
func (p party) invited(t *testing.T, room string) {
	t.Helper()
	waitFor(t, p.id+" is invited", func() bool { return p.sync(t, "", "").Get("rooms.invite." + escapeKey(room)).Exists() })
}

// out waits until somebody is told that they are out of the room, and by which membership.
func (p party) out(t *testing.T, room, membership string) {
	t.Helper()
	waitFor(t, p.id+" learns of the "+membership, func() bool {
		left := p.sync(t, "", `{"room":{"include_leave":true}}`).Get("rooms.leave." + escapeKey(room))
		for _, events := range []string{"timeline.events", "state.events"} {
			for _, e := range left.Get(events).Array() {
				if e.Get("type").Str == "m.room.member" && e.Get("state_key").Str == p.id && e.Get("content.membership").Str == membership {
					return true
				}
			}
		}
		return false
	})
}

// shareRooms has the guest join public rooms by their alias and private ones by invitation,
// of several versions, and both speak.
func shareRooms(t *testing.T, host, guest party) {
	for _, version := range []string{"1", "6", "10", "11", "12"} {
		name := "lobby" + version
		public := host.makeRoom(t, "public_chat", version, map[string]any{"room_alias_name": name})
		guest.joinBy(t, "#"+name+":"+host.server, host.server)
		host.say(t, public, "hello")
		guest.hear(t, public, "hello")
		guest.say(t, public, "hi")
		host.hear(t, public, "hi")
		private := host.makeRoom(t, "private_chat", version, map[string]any{"invite": []string{guest.id}})
		guest.invited(t, private)
		guest.join(t, private)
		guest.say(t, private, "thanks")
		host.hear(t, private, "thanks")
		guest.ok(t, "POST", inRoom(private, "leave"), map[string]any{})
		host.sees(t, private, guest.id, "leave")
	}
}

// comeAndGo has the guest decline an invitation, be put out, banned, and come back.
func comeAndGo(t *testing.T, host, guest party) {
	room := host.makeRoom(t, "public_chat", "11", nil)
	host.act(t, room, "invite", guest.id)
	guest.invited(t, room)
	guest.ok(t, "POST", inRoom(room, "leave"), map[string]any{})
	host.sees(t, room, guest.id, "leave")
	guest.joinBy(t, room, host.server)
	host.sees(t, room, guest.id, "join")
	host.act(t, room, "kick", guest.id)
	guest.out(t, room, "leave")
	guest.joinBy(t, room, host.server)
	host.act(t, room, "ban", guest.id)
	guest.out(t, room, "ban")
	if a := guest.do(t, "POST", clientV3+"/join/"+url.PathEscape(room)+by(host.server), map[string]any{}); a.status < 400 {
		t.Errorf("who is banned joins: %s", a)
	}
	host.act(t, room, "unban", guest.id)
	host.sees(t, room, guest.id, "leave")
	guest.joinBy(t, room, host.server)
	guest.say(t, room, "here again")
	host.hear(t, room, "here again")
}

func joinRule(rule string, more ...any) map[string]any {
	content := map[string]any{"join_rule": rule}
	if len(more) > 0 {
		content["allow"] = more
	}
	return map[string]any{"initial_state": []any{map[string]any{"type": "m.room.join_rules", "state_key": "", "content": content}}}
}

// knock has the guest ask to be let in.
func knock(t *testing.T, host, guest party) {
	room := host.makeRoom(t, "private_chat", "10", joinRule("knock"))
	a := guest.do(t, "POST", clientV3+"/knock/"+url.PathEscape(room)+by(host.server), map[string]any{"reason": "it's me"})
	if a.errcode() == "M_UNRECOGNIZED" || a.status == http.StatusNotFound {
		t.Skipf("one of the servers can't knock: %s", a)
	}
	if a.status != http.StatusOK {
		t.Fatal(a)
	}
	host.sees(t, room, guest.id, "knock")
	host.act(t, room, "invite", guest.id)
	guest.invited(t, room)
	guest.join(t, room)
	host.sees(t, room, guest.id, "join")
}

// joinRestricted has the guest come into a room because they are in another.
func joinRestricted(t *testing.T, host, guest party) {
	for _, version := range []string{"8", "12"} {
		club := host.makeRoom(t, "private_chat", version, map[string]any{"invite": []string{guest.id}})
		room := host.makeRoom(t, "private_chat", version, joinRule("restricted", map[string]any{"type": "m.room_membership", "room_id": club}))
		if a := guest.do(t, "POST", clientV3+"/join/"+url.PathEscape(room)+by(host.server), map[string]any{}); a.status < 400 {
			t.Errorf("who isn't in the other room joins: %s", a)
		}
		guest.join(t, club)
		host.sees(t, club, guest.id, "join")
		guest.joinBy(t, room, host.server)
		host.sees(t, room, guest.id, "join")
		guest.say(t, room, "let in")
		host.hear(t, room, "let in")
	}
}

// readHistory has the guest scroll back to before they came.
func readHistory(t *testing.T, host, guest party) {
	room := host.makeRoom(t, "public_chat", "11", nil)
	for n := range 40 {
		host.say(t, room, fmt.Sprint("old ", n))
	}
	guest.joinBy(t, room, host.server)
	waitFor(t, "the past is told", func() bool {
		var heard []string
		for from := ""; ; {
			page := guest.ok(t, "GET", inRoom(room, "messages?dir=b&limit=20&from="+url.QueryEscape(from)), nil)
			for _, e := range page.Get("chunk").Array() {
				if body := e.Get("content.body").Str; body != "" {
					heard = append(heard, body)
				}
			}
			if from = page.Get("end").Str; from == "" || len(page.Get("chunk").Array()) == 0 {
				break
			}
		}
		return len(heard) == 40 && heard[0] == "old 39" && heard[39] == "old 0"
	})
}

// moveOn has the host upgrade a room, and the guest follow.
func moveOn(t *testing.T, host, guest party) {
	room := host.makeRoom(t, "public_chat", "9", map[string]any{"name": "Old"})
	guest.joinBy(t, room, host.server)
	host.sees(t, room, guest.id, "join")
	next := host.ok(t, "POST", inRoom(room, "upgrade"), map[string]any{"new_version": "11"}).Get("replacement_room").Str
	waitFor(t, "the guest is told where the room went", func() bool {
		return guest.do(t, "GET", inRoom(room, "state/m.room.tombstone/"), nil).json().Get("replacement_room").Str == next
	})
	guest.joinBy(t, next, host.server)
	if before := guest.ok(t, "GET", inRoom(next, "state/m.room.create/"), nil).Get("predecessor.room_id").Str; before != room {
		t.Errorf("before the new room was %q", before)
	}
	if name := guest.ok(t, "GET", inRoom(next, "state/m.room.name/"), nil).Get("name").Str; name != "Old" {
		t.Errorf("its name is %q", name)
	}
	guest.say(t, next, "followed")
	host.hear(t, next, "followed")
}

// changeState has both change a room's state, each with the power that they were given, and
// see the same in the end.
func changeState(t *testing.T, host, guest party) {
	room := host.makeRoom(t, "public_chat", "11", nil)
	guest.joinBy(t, room, host.server)
	host.sees(t, room, guest.id, "join")
	guest.refused(t, http.StatusForbidden, "M_FORBIDDEN", "PUT", inRoom(room, "state/m.room.name/"), map[string]any{"name": "Mine"})
	levels := host.ok(t, "GET", inRoom(room, "state/m.room.power_levels/"), nil)
	content := levels.Value().(map[string]any)
	content["users"].(map[string]any)[guest.id] = 50
	host.setState(t, room, "m.room.power_levels", "", content)
	waitFor(t, "the guest may name the room", func() bool {
		return guest.do(t, "PUT", inRoom(room, "state/m.room.name/"), map[string]any{"name": "The guest's"}).status == http.StatusOK
	})
	waitFor(t, "the host sees the name", func() bool {
		return host.do(t, "GET", inRoom(room, "state/m.room.name/"), nil).json().Get("name").Str == "The guest's"
	})
	said := guest.say(t, room, "a slip")
	host.hear(t, room, "a slip")
	guest.ok(t, "PUT", inRoom(room, "redact/"+url.PathEscape(said)+"/r"), map[string]any{"reason": "typo"})
	waitFor(t, "what was redacted is gone", func() bool {
		return !host.ok(t, "GET", inRoom(room, "event/"+url.PathEscape(said)), nil).Get("content.body").Exists()
	})
	states := func(p party) string {
		var list []string
		for _, e := range p.ok(t, "GET", inRoom(room, "state"), nil).Array() {
			list = append(list, e.Get("event_id").Str)
		}
		slices.Sort(list)
		return strings.Join(list, " ")
	}
	waitFor(t, "both see the same state", func() bool { return states(host) == states(guest) })
}

// goAway has the other homeserver be away while people talk, and then Hearth: both catch up.
func goAway(t *testing.T, s *server, p *peer, alice, bob party) {
	room := alice.makeRoom(t, "public_chat", "11", nil)
	bob.joinBy(t, room, alice.server)
	bob.say(t, room, "here I am")
	alice.hear(t, room, "here I am")
	p.stop()
	for n := range 25 {
		alice.say(t, room, fmt.Sprint("without bob ", n))
	}
	alice.ok(t, "PUT", clientV3+"/sendToDevice/m.test/away", map[string]any{"messages": map[string]any{bob.id: map[string]any{"*": map[string]any{"word": "while you were away"}}}})
	alice.setState(t, room, "m.room.topic", "", map[string]any{"topic": "bob is away"})
	waitFor(t, "Hearth finds the other gone", func() bool { return strings.Contains(s.readLog(), "sending to a server failed") })
	p.start()
	bob.say(t, room, "back again")
	waitFor(t, "bob's device gets what waited", func() bool {
		return strings.Contains(bob.sync(t, "", "").Get("to_device.events").Raw, "while you were away")
	})
	bob.hear(t, room, "without bob 24")
	waitFor(t, "bob sees the topic", func() bool {
		return bob.do(t, "GET", inRoom(room, "state/m.room.topic/"), nil).json().Get("topic").Str == "bob is away"
	})
	alice.hear(t, room, "back again")

	s.kill()
	for n := range 25 {
		bob.say(t, room, fmt.Sprint("without alice ", n))
	}
	s.start()
	alice.hear(t, room, "without alice 24")
	waitFor(t, "alice finds the first of them", func() bool {
		for _, e := range alice.ok(t, "GET", inRoom(room, "messages?dir=b&limit=60"), nil).Get("chunk").Array() {
			if e.Get("content.body").Str == "without alice 0" {
				return true
			}
		}
		return false
	})
}
