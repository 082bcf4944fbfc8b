package clientapi

import (
	"fmt"
	"testing"

	"hearth/storage"
)

// TestReports has a user report a room, a person and a message, and an administrator read
// and remove the reports.
func TestReports(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	hash, err := w.api.o.Passwords.Hash(background(t), "secret-admin")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.db.CreateUser(background(t), storage.User{ID: "@admin:test.local", PasswordHash: hash, Admin: true}); err != nil {
		t.Fatal(err)
	}
	admin := w.login("admin", nil)["access_token"].(string)
	room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat", "name": "Den"})["room_id"].(string)
	said := w.ok("PUT", "/rooms/"+room+"/send/m.room.message/1", alice, object{"body": "rude"})["event_id"].(string)

	w.refused(404, "M_NOT_FOUND", "POST", "/rooms/"+room+"/report/"+said, bob, object{"reason": "rude"})
	w.refused(404, "M_NOT_FOUND", "POST", "/rooms/!no:test.local/report/"+said, bob, object{"reason": "rude"})
	w.ok("POST", "/join/"+room, bob, object{})
	w.refused(404, "M_NOT_FOUND", "POST", "/rooms/"+room+"/report/$no", bob, object{"reason": "rude"})
	w.ok("POST", "/rooms/"+room+"/report/"+said, bob, object{"score": -100})
	w.refused(400, "M_MISSING_PARAM", "POST", "/rooms/"+room+"/report", bob, object{})
	w.refused(400, "M_BAD_JSON", "POST", "/rooms/"+room+"/report", bob, object{"reason": 5})
	w.ok("POST", "/rooms/"+room+"/report", bob, object{"reason": "a bad place"})
	w.ok("POST", "/rooms/!no:test.local/report", bob, object{"reason": "not known here"})
	w.ok("POST", "/users/@nobody:test.local/report", bob, object{"reason": ""})
	w.refused(400, "M_INVALID_PARAM", "POST", "/users/nobody/report", bob, object{"reason": ""})

	const base = "/_synapse/admin/v1/"
	w.refused(403, "M_FORBIDDEN", "GET", base+"event_reports", bob, nil)
	answer := w.ok("GET", base+"event_reports?limit=1&user_id=@bob:test.local", admin, nil)
	report := answer["event_reports"].([]any)[0].(object)
	same(t, "reports", []any{answer["total"], report["event_id"], report["sender"], report["name"], report["user_id"]},
		[]any{1, said, "@alice:test.local", "Den", "@bob:test.local"})
	id := base + "event_reports/" + fmt.Sprint(report["id"])
	same(t, "the event", w.ok("GET", id, admin, nil)["event_json"].(object)["content"], object{"body": "rude"})
	w.ok("DELETE", id, admin, nil)
	w.refused(404, "M_NOT_FOUND", "GET", id, admin, nil)
	answer = w.ok("GET", base+"room_reports?limit=1&dir=f", admin, nil)
	same(t, "room reports", []any{answer["total"], answer["next_token"], answer["room_reports"].([]any)[0].(object)["room_id"]}, []any{2, 1, room})
	same(t, "user reports", w.ok("GET", base+"user_reports", admin, nil)["user_reports"].([]any)[0].(object)["target_user_id"], "@nobody:test.local")

	for range 3 { // of each reporter just the newest are kept
		if err := w.db.AddReport(background(t), storage.Report{Kind: "user", Reporter: "@alice:test.local", Target: "@bob:test.local"}, 2); err != nil {
			t.Fatal(err)
		}
	}
	same(t, "kept", w.ok("GET", base+"user_reports?user_id=@alice:test.local", admin, nil)["total"], 2)
}
