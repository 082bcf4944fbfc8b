package clientapi

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"hearth/delayed"
	"hearth/roomserver"
)

const delayedPrefix = "/_matrix/client/unstable/org.matrix.msc4140"

// eventually waits until f is true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("still not: %s", what)
		}
	}
}

// TestDelayedEvents tells of a call whose hang-up is scheduled.
func TestDelayedEvents(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.register("alice"), w.register("bob")
	room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat"})["room_id"].(string)
	w.ok("POST", "/join/"+room, bob, object{})
	state := func(key, delay string) string {
		return "/rooms/" + room + "/state/call/" + key + "?org.matrix.msc4140.delay=" + delay
	}
	schedule := func(key, delay string) string {
		return w.ok("PUT", state(key, delay), alice, object{"left": true})["delay_id"].(string)
	}
	isSet := func(key string) bool {
		status, _ := w.do("GET", "/rooms/"+room+"/state/call/"+key, alice, nil)
		return status == http.StatusOK
	}
	get := func(id string) object { return w.ok("GET", delayedPrefix+"/delayed_events/"+id, alice, nil) }
	scheduled := func(token string) []any {
		return w.ok("GET", delayedPrefix+"/delayed_events", token, nil)["delayed_events"].([]any)
	}

	hangUp := schedule("alice", "60000")
	later := schedule("later", "70000")
	if list := scheduled(alice); len(list) != 2 || list[0].(object)["delay_id"] != hangUp || list[0].(object)["state_key"] != "alice" ||
		list[0].(object)["delay_ms"] != 60000.0 || fmt.Sprint(list[0].(object)["content"]) != "map[left:true]" {
		t.Errorf("scheduled: %v", list)
	}
	if list := scheduled(bob); len(list) != 0 {
		t.Errorf("somebody else sees %v", list)
	}
	w.refused(404, "M_NOT_FOUND", "GET", delayedPrefix+"/delayed_events/"+hangUp, bob, nil)
	w.refused(404, "M_NOT_FOUND", "POST", delayedPrefix+"/delayed_events/"+hangUp+"/cancel", bob, object{})
	w.refused(404, "M_UNRECOGNIZED", "POST", delayedPrefix+"/delayed_events/"+hangUp+"/oops", "", object{})
	w.refused(400, "M_INVALID_PARAM", "POST", delayedPrefix+"/delayed_events/"+hangUp, "", object{})
	w.refused(404, "M_NOT_FOUND", "POST", delayedPrefix+"/delayed_events/abc/send", "", object{})

	before := get(hangUp)["scheduled_at"].(float64)
	time.Sleep(2 * time.Millisecond)
	w.ok("POST", delayedPrefix+"/delayed_events/"+hangUp+"/restart", "", object{})
	if after := get(hangUp)["scheduled_at"].(float64); after <= before {
		t.Errorf("restarted at %v, scheduled at %v", after, before)
	}
	w.ok("POST", delayedPrefix+"/delayed_events/"+hangUp+"/send", "", object{})
	w.ok("POST", delayedPrefix+"/delayed_events/"+hangUp+"/send", alice, object{})
	sent := get(hangUp)
	if !isSet("alice") || sent["event_id"] == nil || sent["finalised_ts"] == nil {
		t.Errorf("sent on request: %v", sent)
	}
	w.refused(409, "M_UNKNOWN", "POST", delayedPrefix+"/delayed_events/"+hangUp+"/cancel", alice, object{})
	w.refused(404, "M_NOT_FOUND", "POST", delayedPrefix+"/delayed_events/"+hangUp+"/restart", alice, object{})
	w.ok("POST", delayedPrefix+"/delayed_events/"+later, "", object{"action": "cancel"})
	w.ok("POST", delayedPrefix+"/delayed_events/"+later+"/cancel", "", object{})
	w.refused(409, "M_UNKNOWN", "POST", delayedPrefix+"/delayed_events/"+later+"/send", "", object{})
	w.refused(409, "M_UNKNOWN", "POST", delayedPrefix+"/delayed_events/"+later+"/restart", "", object{})
	if list := scheduled(alice); len(list) != 0 {
		t.Errorf("still scheduled: %v", list)
	}
	soon := schedule("soon", "1")
	eventually(t, "what is due is sent", func() bool { return isSet("soon") && get(soon)["event_id"] != nil })

	path := "/rooms/" + room + "/event/" + sent["event_id"].(string)
	if got := w.ok("GET", path, alice, nil)["unsigned"].(object)["org.matrix.msc4140.delay_id"]; got != hangUp {
		t.Errorf("the event was %v, want %v", got, hangUp)
	}
	if got := w.ok("GET", path, bob, nil)["unsigned"].(object)["org.matrix.msc4140.delay_id"]; got != nil {
		t.Errorf("somebody else sees that the event was %v", got)
	}
}

// TestDelayedEventsOutliveTheProcess: what becomes due while the server is off is
// sent when it is back, once, with the rights that its sender then has.
func TestDelayedEventsOutliveTheProcess(t *testing.T) {
	var scheduler *delayed.Scheduler
	w := newWorld(t, func(o *Options) { // with a scheduler that isn't started
		scheduler = delayed.New(delayed.Options{DB: o.DB, Rooms: o.Rooms, MaxDelay: time.Hour, MaxPerUser: 3})
		o.Delayed = scheduler
	})
	alice, bob := w.register("alice"), w.register("bob")
	room := w.ok("POST", "/createRoom", alice, object{"preset": "public_chat"})["room_id"].(string)
	w.ok("POST", "/join/"+room, bob, object{})
	path := "/rooms/" + room + "/send/m.room.message/t?org.matrix.msc4140.delay="
	text := object{"msgtype": "m.text", "body": "hi"}
	first := w.ok("PUT", path+"1", alice, text)["delay_id"].(string)
	if again := w.ok("PUT", path+"1", alice, nil)["delay_id"]; again != first {
		t.Errorf("the same request again: %v, want %v", again, first)
	}
	bobs := w.ok("PUT", path+"1", bob, text)["delay_id"].(string)
	w.ok("POST", "/rooms/"+room+"/kick", alice, object{"user_id": "@bob:test.local"})
	newer := func(txn string) string {
		return delayedPrefix + "/rooms/" + room + "/delayed_event/m.room.message/" + txn
	}
	w.ok("PUT", newer("a"), alice, object{"delay_ms": 60_000, "content": text})
	w.ok("PUT", newer("b"), alice, object{"delay_ms": 60_000, "content": text, "state_key": "x"})
	w.refused(429, "M_LIMIT_EXCEEDED", "PUT", newer("c"), alice, object{"delay_ms": 60_000, "content": text})
	for _, delay := range []string{"", "0", "-1", "x", "1.5", "99999999999999999999"} {
		w.refused(400, "M_INVALID_PARAM", "PUT", "/rooms/"+room+"/state/x?org.matrix.msc4140.delay="+delay, bob, text)
	}
	refused := w.refused(400, "M_UNKNOWN", "PUT", "/rooms/"+room+"/state/x?org.matrix.msc4140.delay=9223372036854775807", bob, text)
	if refused["org.matrix.msc4140.errcode"] != "M_MAX_DELAY_EXCEEDED" || refused["org.matrix.msc4140.max_delay"] != 3600e3 {
		t.Errorf("too long: %v", refused)
	}
	w.refused(403, "M_FORBIDDEN", "PUT", newer("d"), bob, object{"delay_ms": 3600_001, "content": text})
	w.refused(400, "M_MISSING_PARAM", "PUT", newer("d"), bob, object{"delay_ms": 1})
	w.refused(400, "M_INVALID_PARAM", "PUT", newer("d"), bob, object{"delay_ms": 0, "content": text})
	w.refused(400, "M_BAD_JSON", "PUT", newer("d"), bob, object{"delay_ms": 1, "content": 3})

	// The last thing before the server went off was to send the first event; that it did
	// was not noted any more.
	sent, err := w.api.rooms.Send(t.Context(), roomserver.EventRequest{
		RoomID: room, Sender: "@alice:test.local", Type: "m.room.message", Content: []byte(`{"msgtype":"m.text","body":"hi"}`),
		DeviceID: roomserver.DelayedDevice, TxnID: first, Endpoint: "delayed",
	})
	if err != nil {
		t.Fatal(err)
	}
	scheduler.Start()
	defer scheduler.Stop()
	get := func(id, token string) object { return w.ok("GET", delayedPrefix+"/delayed_events/"+id, token, nil) }
	eventually(t, "both are done with", func() bool {
		return get(first, alice)["finalised_ts"] != nil && get(bobs, bob)["finalised_ts"] != nil
	})
	failure, _ := get(bobs, bob)["error"].(object)
	if failure["errcode"] != "M_FORBIDDEN" || get(bobs, bob)["event_id"] != nil {
		t.Errorf("who was kicked meanwhile: %v", get(bobs, bob))
	}
	if got := get(first, alice)["event_id"]; got != sent {
		t.Errorf("sent twice: %v and %v", sent, got)
	}
}

// TestStickyEvents sends events that are sticky, at once and later.
func TestStickyEvents(t *testing.T) {
	w := newWorld(t, nil)
	alice := w.register("alice")
	for _, version := range []string{"5", "12"} {
		room := w.ok("POST", "/createRoom", alice, object{"room_version": version})["room_id"].(string)
		const sticky = "org.matrix.msc4354.sticky_duration_ms="
		show := func(id any) object { return w.ok("GET", "/rooms/"+room+"/event/"+fmt.Sprint(id), alice, nil) }
		check := func(what string, id any, ms float64) {
			e := show(id)
			if ttl, _ := e["unsigned"].(object)["msc4354_sticky_duration_ttl_ms"].(float64); ttl <= 0 || ttl > ms ||
				fmt.Sprint(e["msc4354_sticky"]) != fmt.Sprint(object{"duration_ms": ms}) {
				t.Errorf("%s: %v", what, e)
			}
		}
		send := "/rooms/" + room + "/send/call/"
		check("sent", w.ok("PUT", send+"1?"+sticky+"600000", alice, object{"a": 1})["event_id"], 600000)
		state := "/rooms/" + room + "/state/call/alice?" + sticky + "3600000"
		first := w.ok("PUT", state, alice, object{"a": 1})["event_id"]
		second := w.ok("PUT", state, alice, object{"a": 1})["event_id"]
		if check("state", second, 3600000); first == second {
			t.Error("the same state again lasts no longer")
		}
		id := w.ok("PUT", send+"2?org.matrix.msc4140.delay=1&"+sticky+"500000", alice, object{"a": 1})["delay_id"].(string)
		get := func() any { return w.ok("GET", delayedPrefix+"/delayed_events/"+id, alice, nil)["event_id"] }
		eventually(t, "what is due is sent", func() bool { return get() != nil })
		check("later", get(), 500000)
		w.ok("PUT", "/rooms/"+room+"/redact/"+fmt.Sprint(second)+"/3", alice, object{})
		if e := show(second); e["msc4354_sticky"] != nil || e["unsigned"].(object)["msc4354_sticky_duration_ttl_ms"] != nil {
			t.Errorf("redacted: %v", e)
		}
		if e := show(w.ok("PUT", send+"4?"+sticky+"0", alice, object{})["event_id"]); e["msc4354_sticky"] == nil {
			t.Errorf("for no time: %v", e)
		}
		for _, wrong := range []string{"", "-1", "1.5", "x", "3600001"} {
			w.refused(400, "M_INVALID_PARAM", "PUT", send+"5?"+sticky+wrong, alice, object{})
			w.refused(400, "M_INVALID_PARAM", "PUT", send+"6?org.matrix.msc4140.delay=1&"+sticky+wrong, alice, object{})
			w.refused(400, "M_INVALID_PARAM", "PUT", "/rooms/"+room+"/state/call?"+sticky+wrong, alice, object{})
		}
	}
}

// TestTransports: clients learn where calls go.
func TestTransports(t *testing.T) {
	w := newWorld(t, func(o *Options) {
		o.PublicBaseURL, o.LiveKit = "https://example.org", []string{"https://rtc.example.org"}
	})
	alice := w.register("alice")
	const path = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports"
	w.refused(401, "M_MISSING_TOKEN", "GET", path, "", nil)
	want := fmt.Sprint([]any{object{"type": "livekit", "livekit_service_url": "https://rtc.example.org"}})
	if got := fmt.Sprint(w.ok("GET", path, alice, nil)["rtc_transports"]); got != want {
		t.Errorf("transports: %v", got)
	}
	if got := fmt.Sprint(w.ok("GET", "/.well-known/matrix/client", "", nil)["org.matrix.msc4143.rtc_foci"]); got != want {
		t.Errorf("foci: %v", got)
	}
}

// TestDelayedMemberships: who may not come into a room can't by coming later, whatever they say of themselves.
func TestDelayedMemberships(t *testing.T) {
	w := newWorld(t, func(o *Options) { o.GuestsAllowed = true })
	alice, bob := w.register("alice"), w.register("bob")
	guest := w.ok("POST", "/register?kind=guest", "", object{})
	create := func(body object) string { return w.ok("POST", "/createRoom", alice, body)["room_id"].(string) }
	club := create(object{"preset": "private_chat"})
	room := create(object{"initial_state": []any{object{"type": "m.room.join_rules", "content": object{
		"join_rule": "restricted", "allow": []any{object{"type": "m.room_membership", "room_id": club}}}}}})
	square := create(object{"preset": "public_chat"})
	schedule := func(token, room, user string, content object) string {
		answer := w.ok("PUT", delayedPrefix+"/rooms/"+room+"/delayed_event/m.room.member/"+fmt.Sprint(time.Now().UnixNano()), token,
			object{"delay_ms": 60000, "state_key": user, "content": content})
		return delayedPrefix + "/delayed_events/" + answer["delay_id"].(string) + "/send"
	}
	come := object{"membership": "join", "join_authorised_via_users_server": "@alice:test.local"}

	w.refused(403, "M_FORBIDDEN", "POST", schedule(bob, room, "@bob:test.local", come), "", object{})
	w.refused(403, "M_GUEST_ACCESS_FORBIDDEN", "PUT", delayedPrefix+"/rooms/"+square+"/delayed_event/m.room.member/1",
		guest["access_token"].(string), object{"delay_ms": 60000, "state_key": guest["user_id"], "content": object{"membership": "join"}})
	w.ok("POST", "/rooms/"+club+"/invite", alice, object{"user_id": "@bob:test.local"})
	w.ok("POST", "/join/"+club, bob, object{})
	w.ok("POST", schedule(bob, room, "@bob:test.local", come), "", object{})

	leave := w.ok("PUT", "/rooms/"+room+"/state/m.room.member/@bob:test.local?org.matrix.msc4140.delay=60000", bob, object{"membership": "leave"})
	members := w.ok("GET", "/rooms/"+room+"/joined_members", bob, nil)["joined"].(object)
	if members["@bob:test.local"] == nil {
		t.Errorf("who leaves later has left: %v", members)
	}
	w.ok("POST", delayedPrefix+"/delayed_events/"+leave["delay_id"].(string)+"/send", "", object{})
	w.refused(403, "M_FORBIDDEN", "GET", "/rooms/"+room+"/joined_members", bob, nil)
	w.refused(400, "M_BAD_ALIAS", "PUT", delayedPrefix+"/rooms/"+room+"/delayed_event/m.room.canonical_alias/1", alice,
		object{"delay_ms": 60000, "state_key": "", "content": object{"alias": "#square:test.local"}})
}
