package federationapi

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"hearth/federationapi/client"
	"hearth/storage"
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

// failing has a server count as one that has long given no answer, and isn't asked for an hour.
func (h *hearth) failing(server string) {
	h.t.Helper()
	ago := time.Now().Add(-48 * time.Hour).UnixMilli()
	err := h.db.SetDestination(background(h.t), storage.Destination{Server: server, Failures: 100, FailingSince: ago, FailedAt: ago,
		RetryAt: time.Now().Add(time.Hour).UnixMilli(), LastError: "no route"})
	if err != nil {
		h.t.Fatal(err)
	}
}

// TestBackAfterRestart starts the program again while it leaves a server alone: that is tried soon,
// and left alone again if that is in vain, until it is heard of.
func TestBackAfterRestart(t *testing.T) {
	one, two, alice, _, room, _ := met(t)
	one.say(room, alice, "hello")
	eventually(t, "that alice is heard", func() bool { return slices.Contains(two.heard(room), "hello") })
	one.api.StopSending()
	one.failing(two.name)
	one.say(room, alice, "first")
	fresh := func() *API {
		o := one.api.o
		var err error
		if o.Client, err = client.New(background(t), one.options); err != nil {
			t.Fatal(err)
		}
		again := New(o)
		if err := again.StartSending(background(t)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(again.StopSending)
		one.api = again
		return again
	}
	again := fresh()
	eventually(t, "that bob hears it soon", func() bool { return slices.Contains(two.heard(room), "first") })
	again.StopSending()
	one.failing(two.name)
	one.say(room, alice, "second")
	gone := func(http.ResponseWriter, *http.Request, http.Handler) { panic(http.ErrAbortHandler) }
	two.front.Store(&gone)
	again = fresh()
	eventually(t, "that the server is left alone again", func() bool {
		again.sender.mu.Lock()
		defer again.sender.mu.Unlock()
		d := again.sender.servers[two.name]
		return d != nil && d.state == paused && time.Until(d.until) > 30*time.Minute
	})
	two.front.Store(nil)
	again.client.Alive(two.name)
	again.sender.heardOf(two.name)
	eventually(t, "that bob hears it at once", func() bool { return slices.Contains(two.heard(room), "second") })
}

// TestDispatchBehindMemory has what this server's users do be found late, when memory no longer
// reaches back to all of it: what is in memory is sent all the same.
func TestDispatchBehindMemory(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := one.user("alice"), two.user("bob")
	room := one.room("12")
	s := one.api.sender
	one.db.Stream.Follow(s.follow)
	s.tail.from = one.db.Stream.Position()
	two.join(room, bob, one)
	one.say(room, alice, "hello")
	for s.head.Load() < s.followed.Load() {
		if err := s.dispatchSome(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "that bob hears alice", func() bool {
		heard := two.heard(room)
		return len(heard) == 1 && heard[0] == "hello"
	})
}

// TestArrivalBehindMemory has somebody come whom dispatch finds late: their server is handed what is
// sticky all the same.
func TestArrivalBehindMemory(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	room := one.room("12")
	one.stick(room, one.user("alice"), "sticky")
	two.join(room, two.user("bob"), one)
	s := one.api.sender
	one.db.Stream.Follow(s.follow)
	s.tail.from = one.db.Stream.Position()
	s.advance(s.tail.from)
	for s.head.Load() < s.followed.Load() {
		if err := s.dispatchSome(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "that bob hears what is sticky", func() bool { return slices.Contains(two.heard(room), "sticky") })
}
