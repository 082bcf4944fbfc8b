package clientapi

import "testing"

// TestLastOnesOut has the last member of a room leave: who was invited can still
// decline, and a public room can be entered again.
func TestLastOnesOut(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	private := w.ok("POST", "/createRoom", alice, object{"invite": []string{"@bob:test.local"}})["room_id"].(string)
	w.ok("POST", "/rooms/"+private+"/leave", alice, object{})
	w.ok("POST", "/rooms/"+private+"/leave", bob, object{})
	public := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat"})["room_id"].(string)
	w.ok("POST", "/rooms/"+public+"/leave", alice, object{})
	w.ok("POST", "/join/"+public+"?via=example.org", bob, object{})
}
