package roomserver

import "testing"

// TestReadWhileChanged: a room leaves memory while somebody is invited, and is read again
// before that is stored. What comes next counts with the invitation.
func TestReadWhileChanged(t *testing.T) {
	s := open(t, dsn(t))
	room := newRoom(t, s, "11")
	invite := MembershipRequest{RoomID: room, Sender: alice, Target: bob, Membership: "invite"}
	err := s.change(t.Context(), room, func(b *builder) error {
		s.live.rooms.Invalidate(room)
		if _, err := s.View(t.Context(), room); err != nil {
			return err
		}
		_, err := b.setMembership(invite, invite.content())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	setMembership(t, s, room, bob, bob, "leave")
}
