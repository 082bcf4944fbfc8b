package federationapi

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"hearth/roomserver"
)

// before has something done each time when a server is asked for what has a word in its path, and
// the answer held back until it is done.
func (h *hearth) before(word string, do func()) {
	front := func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		if !strings.Contains(r.URL.Path, word) {
			server.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, r)
		do()
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	}
	h.front.Store(&front)
}

func (h *hearth) joinContent(room, user string) map[string]any {
	h.t.Helper()
	content, err := h.rooms.MemberContent(background(h.t), roomserver.MembershipRequest{RoomID: room, Sender: user, Target: user, Membership: "join"})
	if err != nil {
		h.t.Fatal(err)
	}
	return content
}

// TestJoinTogether has users of one server join a room at the same time: the room is handed over
// to each, and taken over once.
func TestJoinTogether(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	room := one.room("12")
	const n = 4
	var answered sync.WaitGroup
	answered.Add(n)
	one.before("/send_join/", func() { answered.Done(); answered.Wait() })
	joined := make(chan error, n)
	var users []string
	for i := range n {
		user := two.user(fmt.Sprint("bob", i))
		users = append(users, user)
		content := two.joinContent(room, user)
		go func() { joined <- two.api.Join(background(t), room, user, []string{one.name}, content) }()
	}
	for range n {
		if err := <-joined; err != nil {
			t.Errorf("a user can't join: %v", err)
		}
	}
	for _, user := range users {
		if m := two.membership(room, user); m != "join" {
			t.Errorf("%s is %q", user, m)
		}
	}
	eventually(t, "that the servers agree", func() bool { return one.state(room) == two.state(room) })
}

// TestHangUp has users not wait for what another server was asked to do: it is finished.
func TestHangUp(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob, carol := "@alice:"+one.name, two.user("bob"), two.user("carol")
	room := one.room("12")
	waiting, hangUp := context.WithCancel(background(t))
	one.before("/send_join/", hangUp)
	if err := two.api.Join(waiting, room, bob, []string{one.name}, two.joinContent(room, bob)); err != nil || two.membership(room, bob) != "join" {
		t.Errorf("who joined is %q: %v", two.membership(room, bob), err)
	}
	private := one.room("11")
	waiting, hangUp = context.WithCancel(background(t))
	two.before("/invite/", hangUp)
	err := one.api.Invite(waiting, roomserver.MembershipRequest{RoomID: private, Sender: alice, Target: carol, Membership: "invite"})
	if err != nil || one.membership(private, carol) != "invite" || two.membership(private, carol) != "invite" {
		t.Errorf("who was invited is %q and %q: %v", one.membership(private, carol), two.membership(private, carol), err)
	}
	waiting, hangUp = context.WithCancel(background(t))
	one.before("/send_leave/", hangUp)
	if err := two.api.Leave(waiting, private, carol, map[string]any{"membership": "leave"}); err != nil || two.membership(private, carol) != "leave" {
		t.Errorf("who declined is %q: %v", two.membership(private, carol), err)
	}
}
