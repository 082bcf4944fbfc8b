package e2e

import (
	"net/http"
	"slices"
	"testing"
)

// TestVisibilityChanges opens and closes a room's history: what was said in
// private stays private, and what was said in the open stays open.
func TestVisibilityChanges(t *testing.T) {
	s := startServer(t)
	alice, bob, carol := register(t, s.base, "alice"), register(t, s.base, "bob"), register(t, s.base, "carol")
	room := alice.createRoom(t, map[string]any{"preset": "public_chat"})
	set := func(visibility string) string {
		return alice.setState(t, room, "m.room.history_visibility", "", map[string]any{"history_visibility": visibility})
	}
	set("joined")
	secret := alice.say(t, room, "secret")
	opened := set("shared")
	alice.say(t, room, "open")
	bob.join(t, room)
	closed := set("joined")
	alice.say(t, room, "among us")
	carol.join(t, room)

	said := func(u *user) (texts []string) {
		for _, ev := range forwards(t, u, room) {
			if ev.text != "" {
				texts = append(texts, ev.text)
			}
		}
		return texts
	}
	for _, c := range []struct {
		u    *user
		want []string
	}{
		{alice, []string{"secret", "open", "among us"}},
		{bob, []string{"open", "among us"}},
		{carol, []string{"open"}},
	} {
		if got := said(c.u); !slices.Equal(got, c.want) {
			t.Errorf("%s reads %v instead of %v", c.u.id, got, c.want)
		}
	}
	carol.refused(t, http.StatusNotFound, "M_NOT_FOUND", "GET", inRoom(room, "event/"+secret), nil)
	// A change shows if either the old or the new setting would show it.
	carol.ok(t, "GET", inRoom(room, "event/"+opened), nil)
	carol.ok(t, "GET", inRoom(room, "event/"+closed), nil)

	bob.ok(t, "POST", inRoom(room, "leave"), map[string]any{})
	if got := said(bob); !slices.Equal(got, []string{"open", "among us"}) {
		t.Errorf("after leaving, bob reads %v", got)
	}
	bob.ok(t, "POST", inRoom(room, "forget"), map[string]any{})
	bob.refused(t, http.StatusForbidden, "M_FORBIDDEN", "GET", inRoom(room, "messages?dir=b"), nil)
}
