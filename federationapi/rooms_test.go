package federationapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"testing"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/spec"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/internal/publicrooms"
	"hearth/roomserver"
	"hearth/storage"
)

// send has a user of h send an event and returns its id.
func (h *hearth) send(room, sender, eventType string, stateKey *string, content object) string {
	h.t.Helper()
	text, err := json.Marshal(content)
	if err != nil {
		h.t.Fatal(err)
	}
	id, err := h.rooms.Send(background(h.t), roomserver.EventRequest{RoomID: room, Sender: sender, Type: eventType, StateKey: stateKey, Content: text})
	if err != nil {
		h.t.Fatal(err)
	}
	return id
}

func (h *hearth) say(room, sender, body string) string {
	h.t.Helper()
	return h.send(room, sender, "m.room.message", nil, object{"msgtype": "m.text", "body": body})
}

func (h *hearth) member(room, user, membership string) string {
	h.t.Helper()
	id, err := h.rooms.SetMembership(background(h.t), roomserver.MembershipRequest{RoomID: room, Sender: user, Target: user, Membership: membership})
	if err != nil {
		h.t.Fatal(err)
	}
	return id
}

func (h *hearth) room(version string, more ...roomserver.InitialEvent) string {
	h.t.Helper()
	id, err := h.rooms.CreateRoom(background(h.t), roomserver.CreateRoomRequest{Creator: "@alice:" + h.name, Version: version,
		Preset: "public_chat", Alias: "#lobby" + version + ":" + h.name, Publish: true, Name: "Lobby " + version, InitialState: more})
	if err != nil {
		h.t.Fatal(err)
	}
	return id
}

func uri(path, room string, query ...string) string {
	u := client.Path("/_matrix/federation/v1/"+path, room)
	v := url.Values{}
	for i := 0; i < len(query); i += 2 {
		v.Add(query[i], query[i+1])
	}
	if len(v) > 0 {
		u += "?" + v.Encode()
	}
	return u
}

// bodies are the message bodies of PDUs, "-" for those that show none.
func bodies(pdus any) (list []string) {
	for _, p := range pdus.([]any) {
		content := p.(object)["content"].(object)
		if p.(object)["type"] != "m.room.message" {
			continue
		}
		body, ok := content["body"].(string)
		if !ok {
			body = "-"
		}
		list = append(list, body)
	}
	return list
}

func same(t *testing.T, what string, got any, want ...string) {
	t.Helper()
	x, _ := json.Marshal(got) // strings always marshal
	y, _ := json.Marshal(want)
	if string(x) != string(y) {
		t.Errorf("%s: %s, want %s", what, x, y)
	}
}

// TestHistoryForServers has bob of another server come and go in a room whose past
// only shows to who was there, and his server ask for that past.
func TestHistoryForServers(t *testing.T) {
	for _, version := range []string{"1", "10", "12"} {
		t.Run(version, func(t *testing.T) { historyForServers(t, version) })
	}
}

func historyForServers(t *testing.T, version string) {
	all := newHearths(t, 3, nil)
	one, two, three := all[0], all[1], all[2]
	alice, bob := "@alice:"+one.name, "@bob:"+two.name
	room := one.room(version, roomserver.InitialEvent{Type: "m.room.history_visibility", StateKey: new(""), Content: object{"history_visibility": "joined"}})
	before := one.say(room, alice, "before")
	two.refused(http.StatusNotFound, "M_NOT_FOUND", one, "GET", uri("event", before), nil)
	two.refused(http.StatusForbidden, "M_FORBIDDEN", one, "GET", uri("state_ids", room, "event_id", before), nil)
	joined := one.member(room, bob, "join")
	during := one.say(room, alice, "during")
	one.member(room, bob, "leave")
	after := one.say(room, alice, "after")

	pdus := two.get(one, uri("event", during))["pdus"]
	same(t, "event", bodies(pdus), "during")
	text, err := json.Marshal(pdus.([]any)[0])
	if err != nil {
		t.Fatal(err)
	}
	pdu, err := gomatrixserverlib.MustGetRoomVersion(gomatrixserverlib.RoomVersion(version)).NewEventFromUntrustedJSON(text)
	if err != nil {
		t.Fatalf("the event isn't one: %v", err)
	}
	userID := func(_ spec.RoomID, id spec.SenderID) (*spec.UserID, error) { return spec.NewUserID(string(id), true) }
	if err := gomatrixserverlib.VerifyEventSignatures(background(t), pdu, two.client.Keys, userID); err != nil {
		t.Errorf("the event's signature: %v", err)
	}
	two.refused(http.StatusNotFound, "M_NOT_FOUND", one, "GET", uri("event", before), nil)
	two.refused(http.StatusNotFound, "M_NOT_FOUND", one, "GET", uri("event", after), nil)
	three.refused(http.StatusNotFound, "M_NOT_FOUND", one, "GET", uri("event", during), nil)

	same(t, "backfill", bodies(two.get(one, uri("backfill", room, "v", after, "limit", "50"))["pdus"]), "-", "during", "-")
	same(t, "short backfill", bodies(two.get(one, uri("backfill", room, "v", during, "limit", "1"))["pdus"]), "during")
	three.refused(http.StatusForbidden, "M_FORBIDDEN", one, "GET", uri("backfill", room, "v", after, "limit", "5"), nil)
	two.refused(http.StatusBadRequest, "M_MISSING_PARAM", one, "GET", uri("backfill", room, "limit", "5"), nil)
	var missing object
	err = two.client.Post(background(t), one.name, uri("get_missing_events", room),
		object{"earliest_events": []string{joined}, "latest_events": []string{after}, "limit": 10}, &missing)
	if err != nil || len(missing["events"].([]any)) != 2 {
		t.Errorf("missing events: %v %v", missing, err)
	}
	stateForServers(t, one, two, room, during)
	two.refused(http.StatusNotFound, "M_NOT_FOUND", one, "GET", uri("state", room, "event_id", before), nil)

	e, err := one.rooms.EventByID(background(t), room, joined)
	if err != nil {
		t.Fatal(err)
	}
	near := two.get(one, uri("timestamp_to_event", room, "ts", strconv.FormatInt(e.OriginTS, 10), "dir", "f"))
	if near["event_id"] != joined {
		t.Errorf("the first event that shows is %v, want %s", near, joined)
	}
	one.send(room, alice, "m.room.server_acl", new(""), object{"allow": []string{"*"}, "allow_ip_literals": false})
	two.refused(http.StatusForbidden, "M_FORBIDDEN", one, "GET", uri("backfill", room, "v", during, "limit", "5"), nil)
}

func stateForServers(t *testing.T, one, two *hearth, room, event string) {
	ids := two.get(one, uri("state_ids", room, "event_id", event))
	whole := two.get(one, uri("state", room, "event_id", event))
	chain := two.get(one, client.Path(uri("event_auth", room), event))["auth_chain"].([]any)
	if len(ids["pdu_ids"].([]any)) < 7 || len(ids["pdu_ids"].([]any)) != len(whole["pdus"].([]any)) ||
		len(ids["auth_chain_ids"].([]any)) < 4 || len(ids["auth_chain_ids"].([]any)) != len(whole["auth_chain"].([]any)) {
		t.Errorf("state: %v\n%v", ids, whole)
	}
	if len(chain) < 3 {
		t.Errorf("auth chain: %v", chain)
	}
}

// TestQueries asks another server for its users, aliases and public rooms.
func TestQueries(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	if err := one.db.CreateUser(background(t), storage.User{ID: "@alice:" + one.name}); err != nil {
		t.Fatal(err)
	}
	if err := one.db.SetProfileField(background(t), "@alice:"+one.name, "displayname", json.RawMessage(`"Alice"`), 1000); err != nil {
		t.Fatal(err)
	}
	const profile = "/_matrix/federation/v1/query/profile?user_id="
	two.refused(http.StatusBadRequest, "M_INVALID_PARAM", one, "GET", profile+"@alice:localhost:http", nil)
	if p := two.get(one, profile+url.QueryEscape("@alice:"+one.name)); p["displayname"] != "Alice" {
		t.Errorf("%v", p)
	}
	if p := two.get(one, profile+url.QueryEscape("@alice:"+one.name)+"&field=avatar_url"); len(p) != 0 {
		t.Errorf("%v", p)
	}
	two.refused(http.StatusNotFound, "M_NOT_FOUND", one, "GET", profile+url.QueryEscape("@bob:"+one.name), nil)
	two.refused(http.StatusNotFound, "M_NOT_FOUND", one, "GET", profile+url.QueryEscape("@alice:"+two.name), nil)
	room := one.room("12")
	alias := two.get(one, "/_matrix/federation/v1/query/directory?room_alias="+url.QueryEscape("#lobby12:"+one.name))
	if alias["room_id"] != room || alias["servers"].([]any)[0] != one.name {
		t.Errorf("%v", alias)
	}
	two.refused(http.StatusNotFound, "M_NOT_FOUND", one, "GET", "/_matrix/federation/v1/query/directory?room_alias=%23no", nil)
	public := two.get(one, "/_matrix/federation/v1/publicRooms?limit=10")
	if public["total_room_count_estimate"] != 1.0 || public["chunk"].([]any)[0].(object)["name"] != "Lobby 12" {
		t.Errorf("%v", public)
	}
	if err := two.client.Post(background(t), one.name, "/_matrix/federation/v1/publicRooms", object{"filter": object{"generic_search_term": "zzz"}}, &public); err != nil || len(public["chunk"].([]any)) != 0 {
		t.Errorf("%v %v", public, err)
	}
	two.refused(http.StatusBadRequest, "M_INVALID_PARAM", one, "GET", "/_matrix/federation/v1/publicRooms?since=x", nil)
	page, err := two.api.PublicRooms(background(t), one.name, &publicrooms.Query{Limit: new(1)})
	if err != nil || len(page.Chunk) != 1 {
		t.Errorf("another server's directory is %+v: %v", page, err)
	}
	if _, err := two.api.PublicRooms(background(t), "no server", &publicrooms.Query{}); httpapi.CodeOf(err) != "M_INVALID_PARAM" {
		t.Errorf("the directory of no server is %v", err)
	}
}
