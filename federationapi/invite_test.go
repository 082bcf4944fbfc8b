package federationapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

func (h *hearth) user(name string) string {
	h.t.Helper()
	id := "@" + name + ":" + h.name
	if err := h.db.CreateUser(background(h.t), storage.User{ID: id}); err != nil {
		h.t.Fatal(err)
	}
	return id
}

func (h *hearth) membership(room, user string) string {
	v, err := h.rooms.View(background(h.t), room)
	if err != nil {
		return ""
	}
	return v.Membership(user)
}

// TestInvitations has alice invite people of another server to a private room: one
// comes, one declines, one doesn't exist, and one can't come uninvited.
func TestInvitations(t *testing.T) {
	for _, version := range []string{"1", "10", "12"} {
		t.Run(version, func(t *testing.T) { invitations(t, version) })
	}
}

func invitations(t *testing.T, version string) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	for _, h := range all {
		h.startSending()
	}
	alice, bob, carol, dave := one.user("alice"), two.user("bob"), two.user("carol"), two.user("dave")
	room, err := one.rooms.CreateRoom(background(t), roomserver.CreateRoomRequest{Creator: alice, Version: version, Preset: "private_chat", Name: "Secret"})
	if err != nil {
		t.Fatal(err)
	}
	invite := func(user string) error {
		return one.api.Invite(background(t), roomserver.MembershipRequest{RoomID: room, Sender: alice, Target: user, Membership: "invite"})
	}
	for _, user := range []string{bob, carol} {
		if err := invite(user); err != nil {
			t.Fatal(err)
		}
		if m := two.membership(room, user); m != "invite" || one.membership(room, user) != "invite" {
			t.Errorf("%s is %q", user, m)
		}
	}
	if err := invite("@nobody:" + two.name); httpapi.CodeOf(err) != "M_FORBIDDEN" {
		t.Errorf("inviting nobody: %v", err)
	}
	v, err := two.rooms.View(background(t), room)
	if err != nil {
		t.Fatal(err)
	}
	stripped, err := two.db.GetInviteState(background(t), v.Room.NID, bob)
	if err != nil || !strings.Contains(string(stripped), `"Secret"`) || !gjson.ValidBytes(stripped) {
		t.Errorf("the invitation shows %s (%v)", stripped, err)
	}
	leave := map[string]any{"membership": "leave"}
	if err := two.api.Leave(background(t), room, carol, leave); err != nil {
		t.Fatal(err)
	}
	if one.membership(room, carol) != "leave" || two.membership(room, carol) != "leave" {
		t.Errorf("carol is %q there and %q here", one.membership(room, carol), two.membership(room, carol))
	}
	two.join(room, bob, one)
	one.say(room, alice, "welcome")
	eventually(t, "that bob hears alice", func() bool { return len(two.heard(room)) == 1 })
	two.say(room, bob, "thanks")
	eventually(t, "that alice hears bob", func() bool { return len(one.heard(room)) == 2 })
	if one.state(room) != two.state(room) {
		t.Errorf("%s\n%s", one.state(room), two.state(room))
	}
	err = two.api.Join(background(t), room, dave, []string{one.name}, map[string]any{"membership": "join"})
	if httpapi.CodeOf(err) != "M_FORBIDDEN" {
		t.Errorf("joining uninvited: %v", err)
	}
	two.refused(http.StatusForbidden, "M_FORBIDDEN", one, "GET", uri("make_join", room)+"/"+alice+"?ver="+version, nil)
}

// TestDeclineAlone declines an invitation of a server that is gone.
func TestDeclineAlone(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := one.user("alice"), two.user("bob")
	room := one.room("12")
	if err := one.api.Invite(background(t), roomserver.MembershipRequest{RoomID: room, Sender: alice, Target: bob, Membership: "invite"}); err != nil {
		t.Fatal(err)
	}
	one.close()
	if err := two.api.Leave(background(t), room, bob, map[string]any{"membership": "leave"}); err != nil {
		t.Fatal(err)
	}
	if m := two.membership(room, bob); m != "leave" {
		t.Errorf("bob is %q", m)
	}
}

// TestCatchUp has a server be away while others talk: it hears everything when it is
// back, from where it was left, even if the others were restarted.
func TestCatchUp(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := one.user("alice"), two.user("bob")
	room := one.room("12")
	if err := one.api.StartSending(background(t)); err != nil {
		t.Fatal(err)
	}
	two.join(room, bob, one)
	one.say(room, alice, "first")
	eventually(t, "that bob hears alice", func() bool { return len(two.heard(room)) == 1 })
	one.api.StopSending()
	for range 120 {
		one.say(room, alice, "meanwhile")
	}
	again := New(one.api.o)
	if err := again.StartSending(background(t)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.StopSending)
	eventually(t, "that bob hears what he missed", func() bool { return len(two.heard(room)) == 121 })
}

// TestComesAtOnce has somebody come into a room as soon as their server knows of the
// invitation, before the server that invites has its answer.
func TestComesAtOnce(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	room, bob := one.room("12"), two.user("bob")
	agreed, answered := make(chan struct{}), make(chan error)
	front := func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		if !strings.Contains(r.URL.Path, "/invite/") {
			server.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, r)
		close(agreed)
		time.Sleep(200 * time.Millisecond) // on a fast machine bob asks meanwhile
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	}
	two.front.Store(&front)
	go func() {
		answered <- one.api.Invite(background(t), roomserver.MembershipRequest{RoomID: room, Sender: "@alice:" + one.name, Target: bob, Membership: "invite"})
	}()
	<-agreed
	two.join(room, bob, one)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}
