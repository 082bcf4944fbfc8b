package federationapi

import (
	"net/http"
	"slices"
	"testing"
)

// restart starts a server's sending anew.
func (h *hearth) restart() *API {
	h.t.Helper()
	again := New(h.api.o)
	if err := again.StartSending(background(h.t)); err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(again.StopSending)
	return again
}

// TestBackAgain has a server be away until the other one has stopped trying. When it is
// started again, it is sent what it missed at once.
func TestBackAgain(t *testing.T) {
	one, two, alice, bob, room, _ := met(t)
	two.say(room, bob, "bye")
	eventually(t, "that bob is heard", func() bool { return slices.Contains(one.heard(room), "bye") })
	two.api.StopSending()
	gone := func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }
	two.front.Store(&gone)
	one.say(room, alice, "are you there?")
	eventually(t, "that the server is left alone", func() bool {
		one.api.sender.mu.Lock()
		defer one.api.sender.mu.Unlock()
		d := one.api.sender.servers[two.name]
		// Only hearing of it will end the pause.
		return d != nil && d.state == paused && d.timer.Stop()
	})
	two.front.Store(nil)
	two.restart()
	eventually(t, "that bob hears what he missed", func() bool { return slices.Contains(two.heard(room), "are you there?") })
}

// TestDiesBeforeFirstSending has a program end after something was said to a server that
// was never sent anything: that is sent nevertheless.
func TestDiesBeforeFirstSending(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := one.user("alice"), two.user("bob")
	room := one.room("11")
	if err := one.api.StartSending(background(t)); err != nil {
		t.Fatal(err)
	}
	one.api.sender.cancel() // without what StopSending stores
	one.api.sender.all.Wait()
	two.join(room, bob, one)
	one.say(room, alice, "first words")
	if cursors, err := one.db.FederationCursors(background(t)); err != nil || len(cursors) != 1 {
		t.Fatalf("the places are %v: %v", cursors, err)
	}
	one.restart()
	eventually(t, "that bob hears them", func() bool { return slices.Contains(two.heard(room), "first words") })
}
