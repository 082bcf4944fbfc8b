package e2e

import "slices"

// access says what an endpoint asks of the access token.
type access int

const (
	tokenNeeded access = iota
	tokenOptional
	tokenIgnored
)

// endpoint is one operation that the server has. Braces in the path stand for
// what fillPath puts there. wrong lists bodies that are JSON objects with a
// member of the wrong type; an endpoint without a JSON body has none.
type endpoint struct {
	method, path string
	access       access
	wrong        []string
}

// endpoints is every operation of the client-server API that is implemented.
var endpoints = slices.Concat(endpointsOfRooms, endpointsOfPeople)

// endpointsOfRooms are those of sessions, rooms, what a user keeps, and media.
var endpointsOfRooms = []endpoint{
	{"GET", "/_matrix/client/versions", tokenIgnored, nil},
	{"GET", "/_matrix/client/v3/capabilities", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/login", tokenIgnored, nil},
	{"POST", "/_matrix/client/v3/login", tokenIgnored, []string{
		`{"type":5}`, `{"type":"m.login.password","password":"x","identifier":"alice"}`,
		`{"type":"m.login.password","password":["x"],"identifier":{"type":"m.id.user","user":"alice"}}`,
		`{"type":"m.login.password","password":"x","identifier":{"type":"m.id.user","user":{}}}`,
	}},
	{"POST", "/_matrix/client/v3/refresh", tokenIgnored, []string{`{"refresh_token":1}`}},
	{"POST", "/_matrix/client/v3/logout", tokenNeeded, nil},
	{"POST", "/_matrix/client/v3/logout/all", tokenNeeded, nil},
	{"POST", "/_matrix/client/v3/register", tokenIgnored, []string{`{"username":1}`, `{"auth":"m.login.dummy"}`, `{"inhibit_login":"yes"}`}},
	{"GET", "/_matrix/client/v3/register/available", tokenIgnored, nil},
	{"GET", "/_matrix/client/v3/account/whoami", tokenNeeded, nil},
	{"POST", "/_matrix/client/v3/account/password", tokenOptional, []string{`{"new_password":1}`, `{"logout_devices":"no"}`}},
	{"POST", "/_matrix/client/v3/account/deactivate", tokenOptional, []string{`{"erase":"yes"}`, `{"auth":[]}`}},
	{"GET", "/_matrix/client/v3/devices", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/devices/{device}", tokenNeeded, nil},
	{"PUT", "/_matrix/client/v3/devices/{device}", tokenNeeded, []string{`{"display_name":1}`}},
	{"DELETE", "/_matrix/client/v3/devices/{device}", tokenNeeded, []string{`{"auth":1}`}},
	{"POST", "/_matrix/client/v3/delete_devices", tokenNeeded, []string{`{"devices":"x"}`, `{"devices":[1]}`}},

	{"POST", "/_matrix/client/v3/createRoom", tokenNeeded, []string{
		`{"name":1}`, `{"topic":[]}`, `{"invite":"@a:b"}`, `{"invite":[1]}`, `{"preset":3}`, `{"visibility":{}}`, `{"room_version":12}`,
		`{"initial_state":[1]}`, `{"initial_state":{}}`, `{"creation_content":"x"}`, `{"power_level_content_override":[]}`, `{"is_direct":"yes"}`,
	}},
	{"GET", "/_matrix/client/v3/joined_rooms", tokenNeeded, nil},
	{"POST", "/_matrix/client/v3/join/{room}", tokenNeeded, []string{`{"reason":1}`}},
	{"POST", "/_matrix/client/v3/rooms/{room}/join", tokenNeeded, []string{`{"reason":1}`}},
	{"POST", "/_matrix/client/v3/rooms/{room}/invite", tokenNeeded, []string{`{"user_id":1}`, `{"user_id":"@bob:hearth.test","reason":{}}`}},
	{"POST", "/_matrix/client/v3/rooms/{room}/leave", tokenNeeded, []string{`{"reason":1}`}},
	{"POST", "/_matrix/client/v3/rooms/{room}/forget", tokenNeeded, nil},
	{"POST", "/_matrix/client/v3/rooms/{room}/kick", tokenNeeded, []string{`{"user_id":1}`}},
	{"POST", "/_matrix/client/v3/rooms/{room}/ban", tokenNeeded, []string{`{"user_id":1}`}},
	{"POST", "/_matrix/client/v3/rooms/{room}/unban", tokenNeeded, []string{`{"user_id":1}`}},
	{"POST", "/_matrix/client/v3/knock/{room}", tokenNeeded, []string{`{"reason":1}`}},
	{"GET", "/_matrix/client/v3/pushrules/global/", tokenNeeded, nil},
	{"PUT", "/_matrix/client/v3/pushrules/global/override/.m.rule.master", tokenNeeded, []string{
		`{"actions":1}`, `{"actions":[],"conditions":{}}`, `{"actions":[],"conditions":[{"kind":1}]}`, `{"actions":[],"pattern":1}`}},
	{"PUT", "/_matrix/client/v3/pushrules/global/override/.m.rule.master/enabled", tokenNeeded, []string{`{"enabled":"yes"}`}},
	{"PUT", "/_matrix/client/v3/pushrules/global/override/.m.rule.master/actions", tokenNeeded, []string{`{"actions":{}}`}},
	{"DELETE", "/_matrix/client/v3/pushrules/global/override/.m.rule.master", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/pushers", tokenNeeded, nil},
	{"POST", "/_matrix/client/v3/pushers/set", tokenNeeded, []string{`{"app_id":1}`, `{"append":"yes"}`, `{"pushkey":[]}`}},
	{"GET", "/_matrix/client/v3/notifications", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/pushrules/global/override/.m.rule.master", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/pushrules/global/override/.m.rule.master/actions", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/pushrules/global/override/.m.rule.master/enabled", tokenNeeded, nil},
	{"POST", "/_matrix/client/v3/keys/upload", tokenNeeded, []string{
		`{"one_time_keys":[]}`, `{"one_time_keys":{"nocolon":"x"}}`, `{"device_keys":1}`, `{"device_keys":{"user_id":"@eve:hearth.test"}}`}},
	{"POST", "/_matrix/client/v3/keys/query", tokenNeeded, []string{`{}`, `{"device_keys":[]}`, `{"device_keys":{"@bob:hearth.test":1}}`}},
	{"POST", "/_matrix/client/v3/keys/claim", tokenNeeded, []string{`{}`, `{"one_time_keys":{"@bob:hearth.test":[]}}`}},
	{"POST", "/_matrix/client/v3/keys/device_signing/upload", tokenNeeded, []string{`{"master_key":1}`, `{"master_key":{"usage":["master"]}}`}},
	{"POST", "/_matrix/client/v3/keys/signatures/upload", tokenNeeded, []string{`{"@bob:hearth.test":[]}`}},
	{"PUT", "/_matrix/client/v3/sendToDevice/m.test/{txn}", tokenNeeded, []string{`{"messages":[]}`, `{"messages":{"@bob:hearth.test":[]}}`}},
	{"GET", "/_matrix/client/v3/rooms/{room}/members", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/rooms/{room}/joined_members", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/rooms/{room}/state", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/rooms/{room}/state/m.room.topic/", tokenNeeded, nil},
	{"PUT", "/_matrix/client/v3/rooms/{room}/state/m.room.power_levels/", tokenNeeded, []string{
		`{"users":[]}`, `{"users":{"@bob:hearth.test":"fifty"}}`, `{"events_default":{}}`, `{"ban":1.5}`,
	}},
	{"PUT", "/_matrix/client/v3/rooms/{room}/send/m.room.message/{txn}", tokenNeeded, []string{`{"body":1.5}`, `{"n":9007199254740993}`}},
	{"PUT", "/_matrix/client/v3/rooms/{room}/redact/{event}/{txn}", tokenNeeded, []string{`{"reason":1}`}},
	{"GET", "/_matrix/client/v3/rooms/{room}/event/{event}", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/rooms/{room}/context/{event}", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/rooms/{room}/messages", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/rooms/{room}/aliases", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/directory/room/{alias}", tokenIgnored, nil},
	{"PUT", "/_matrix/client/v3/directory/room/{alias}", tokenNeeded, []string{`{"room_id":1}`}},
	{"DELETE", "/_matrix/client/v3/directory/room/{alias}", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/directory/list/room/{room}", tokenIgnored, nil},
	{"PUT", "/_matrix/client/v3/directory/list/room/{room}", tokenNeeded, []string{`{"visibility":1}`}},
	{"GET", "/_matrix/client/v3/publicRooms", tokenIgnored, nil},
	{"POST", "/_matrix/client/v3/publicRooms", tokenNeeded, []string{`{"limit":"x"}`, `{"filter":1}`, `{"since":1}`}},

	{"GET", "/_matrix/client/v3/sync", tokenNeeded, nil},
	{"POST", "/_matrix/client/v3/user/{me}/filter", tokenNeeded, []string{`{"room":1}`, `{"room":{"timeline":{"limit":"x"}}}`, `{"event_fields":"type"}`}},
	{"GET", "/_matrix/client/v3/user/{me}/filter/0", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/user/{me}/account_data/m.direct", tokenNeeded, nil},
	{"PUT", "/_matrix/client/v3/user/{me}/account_data/m.direct", tokenNeeded, []string{}},
	{"GET", "/_matrix/client/v3/user/{me}/rooms/{room}/account_data/org.example", tokenNeeded, nil},
	{"PUT", "/_matrix/client/v3/user/{me}/rooms/{room}/account_data/org.example", tokenNeeded, []string{}},
	{"GET", "/_matrix/client/v3/user/{me}/rooms/{room}/tags", tokenNeeded, nil},
	{"PUT", "/_matrix/client/v3/user/{me}/rooms/{room}/tags/u.x", tokenNeeded, []string{`{"order":"first"}`}},
	{"DELETE", "/_matrix/client/v3/user/{me}/rooms/{room}/tags/u.x", tokenNeeded, nil},
	{"PUT", "/_matrix/client/v3/rooms/{room}/typing/{me}", tokenNeeded, []string{`{"typing":"yes"}`, `{"typing":true,"timeout":"x"}`}},
	{"POST", "/_matrix/client/v3/rooms/{room}/receipt/m.read/{event}", tokenNeeded, []string{`{"thread_id":1}`}},
	{"POST", "/_matrix/client/v3/rooms/{room}/read_markers", tokenNeeded, []string{`{"m.fully_read":1}`, `{"m.read":[]}`}},
	{"GET", "/_matrix/client/v3/presence/{me}/status", tokenNeeded, nil},
	{"PUT", "/_matrix/client/v3/presence/{me}/status", tokenNeeded, []string{`{"presence":1}`, `{"presence":"online","status_msg":1}`}},
	{"GET", "/_matrix/client/v3/profile/{me}", tokenIgnored, nil},
	{"GET", "/_matrix/client/v3/profile/{me}/displayname", tokenIgnored, nil},
	{"PUT", "/_matrix/client/v3/profile/{me}/displayname", tokenNeeded, []string{`{"displayname":1}`}},
	{"DELETE", "/_matrix/client/v3/profile/{me}/displayname", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/profile/{me}/avatar_url", tokenIgnored, nil},
	{"PUT", "/_matrix/client/v3/profile/{me}/avatar_url", tokenNeeded, []string{`{"avatar_url":{}}`}},
	{"DELETE", "/_matrix/client/v3/profile/{me}/avatar_url", tokenNeeded, nil},
	{"GET", "/_matrix/client/v3/pushrules/", tokenNeeded, nil},

	{"POST", "/_matrix/media/v3/upload", tokenNeeded, nil},
	{"POST", "/_matrix/media/v1/create", tokenNeeded, nil},
	{"PUT", "/_matrix/media/v3/upload/hearth.test/nosuch", tokenNeeded, nil},
	{"GET", "/_matrix/media/v3/config", tokenNeeded, nil},
	{"GET", "/_matrix/media/v3/download/hearth.test/nosuch", tokenIgnored, nil},
	{"GET", "/_matrix/media/v3/download/hearth.test/nosuch/picture.png", tokenIgnored, nil},
	{"GET", "/_matrix/media/v3/thumbnail/hearth.test/nosuch", tokenIgnored, nil},
	{"GET", "/_matrix/client/v1/media/config", tokenNeeded, nil},
	{"GET", "/_matrix/client/v1/media/download/hearth.test/nosuch", tokenNeeded, nil},
	{"GET", "/_matrix/client/v1/media/download/hearth.test/nosuch/picture.png", tokenNeeded, nil},
	{"GET", "/_matrix/client/v1/media/thumbnail/hearth.test/nosuch", tokenNeeded, nil},
}
