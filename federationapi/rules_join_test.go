package federationapi

import "testing"

// TestJoinByTheRules has a server join rooms whose state the rules allow and the library's
// don't: all of it arrives.
func TestJoinByTheRules(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob, carol := one.user("alice"), two.user("bob"), one.user("carol")
	room := one.room("12")
	one.send(room, alice, "m.room.power_levels", new(""), object{"users": object{}, "notifications": object{"room": 60}})
	one.send(room, alice, "m.room.join_rules", new(""), object{"join_rule": "knock"})
	one.member(room, carol, "knock")
	one.send(room, alice, "m.room.join_rules", new(""), object{"join_rule": "public"})
	one.member(room, carol, "join")
	two.join(room, bob, one)
	if one.state(room) != two.state(room) {
		t.Errorf("the states differ: %s %s", one.state(room), two.state(room))
	}
}
