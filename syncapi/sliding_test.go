package syncapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"hearth/roomserver"
)

// slider is a device that uses sliding sync.
type slider struct {
	w     *world
	token string
	pos   string
	conn  string
	// v4 is whether it speaks the accepted proposal.
	v4 bool
	// lists, subscriptions and extensions are what it asks for, as JSON.
	lists, subscriptions, extensions string
}

func (w *world) slider(name string) *slider { return &slider{w: w, token: name + "/PHONE"} }

// try asks once from where it stands.
func (s *slider) try(timeout time.Duration) (int, gjson.Result) {
	s.w.t.Helper()
	body := map[string]any{}
	for name, text := range map[string]string{"lists": s.lists, "room_subscriptions": s.subscriptions, "extensions": s.extensions} {
		if text != "" {
			body[name] = json.RawMessage(text)
		}
	}
	if s.conn != "" {
		body["conn_id"] = s.conn
	}
	if s.v4 {
		if body["timeout"] = timeout.Milliseconds(); s.pos != "" {
			body["pos"] = s.pos
		}
		return s.w.do("POST", "/_matrix/client/v4/sync", s.token, body)
	}
	v := url.Values{"timeout": {fmt.Sprint(timeout.Milliseconds())}}
	if s.pos != "" {
		v.Set("pos", s.pos)
	}
	return s.w.do("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?"+v.Encode(), s.token, body)
}

// sync asks and goes on from the answer.
func (s *slider) sync(timeout time.Duration) gjson.Result {
	s.w.t.Helper()
	status, answer := s.try(timeout)
	if status != http.StatusOK {
		s.w.t.Fatalf("sliding sync: %d %s", status, answer.Raw)
	}
	s.pos = answer.Get("pos").Str
	return answer
}

// slid is a room's part of an answer.
func slid(answer gjson.Result, room string) gjson.Result {
	return answer.Get("rooms." + gjson.Escape(room))
}

// spoken lists the texts of a room's timeline.
func spoken(room gjson.Result) string {
	return bodies(gjson.Parse(`{"timeline":{"events":` + cmpOr(room.Get("timeline").Raw, "[]") + `}}`))
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// required lists a room's required state, in the order that it has.
func required(room gjson.Result) string {
	var all []string
	for _, e := range room.Get("required_state").Array() {
		all = append(all, short(e))
	}
	return strings.Join(all, " ")
}

// window is a list named all of the first n rooms.
func window(n, limit int, state string) string {
	return fmt.Sprintf(`{"all":{"ranges":[[0,%d]],"timeline_limit":%d,"required_state":%s}}`, n-1, limit, state)
}

func roomsOf(answer gjson.Result) int { return len(answer.Get("rooms").Map()) }

// TestSlidingStory takes somebody through what Element X does: a first window, more
// rooms, opening one, news, and a lost answer.
func TestSlidingStory(t *testing.T) {
	w := newWorld(t)
	var rooms []string
	for i := range 5 {
		room := w.newRoom("alice", roomserver.InitialEvent{Type: "m.room.name", StateKey: new(""), Content: map[string]any{"name": fmt.Sprint("room ", i)}})
		w.join(room, "bob")
		for n := range 4 {
			w.say(room, "alice", fmt.Sprint(i, "/", n))
		}
		rooms = append(rooms, room)
	}
	s := w.slider("bob")
	s.lists = window(2, 1, `[["m.room.member","$ME"],["m.room.member","$LAZY"],["m.room.create",""]]`)
	first := s.sync(time.Minute)
	want(t, "the list's length", first.Get("lists.all.count").Int(), 5)
	want(t, "rooms in the window", roomsOf(first), 2)
	newest := slid(first, rooms[4])
	want(t, "timeline", spoken(newest), "4/3")
	want(t, "state", required(newest), "create @alice:join @bob:join")
	want(t, "initial, limited, name", fmt.Sprint(newest.Get("initial"), newest.Get("limited"), newest.Get("name")), "true true room 4")
	want(t, "members, unread", fmt.Sprint(newest.Get("joined_count"), newest.Get("invited_count"), newest.Get("notification_count")), "2 0 4")
	want(t, "num_live", newest.Get("num_live").Int(), 0)

	// A larger window brings the rest, and nothing again.
	s.lists = window(100, 1, `[["m.room.member","$ME"],["m.room.member","$LAZY"],["m.room.create",""]]`)
	want(t, "rooms in a larger window", roomsOf(s.sync(0)), 3)
	want(t, "nothing new", roomsOf(s.sync(0)), 0)

	// Opening a room brings more of its timeline and state.
	s.subscriptions = fmt.Sprintf(`{%q:{"timeline_limit":3,"required_state":[["*","*"]]}}`, rooms[0])
	opened := slid(s.sync(0), rooms[0])
	want(t, "expanded", fmt.Sprint(opened.Get("unstable_expanded_timeline"), opened.Get("initial")), "true ")
	want(t, "its timeline", spoken(opened), "0/1 0/2 0/3")
	want(t, "its state", required(opened), "power_levels join_rules name")

	// News, with the answer lost the first time.
	w.say(rooms[1], "alice", "hello")
	_, lost := s.try(0)
	again := s.sync(0)
	want(t, "lost", slid(lost, rooms[1]).Get("timeline.#").Int(), 1)
	want(t, "told again", spoken(slid(again, rooms[1])), "hello")
	want(t, "no room beside", roomsOf(again), 1)
	news := slid(again, rooms[1])
	want(t, "live, limited, initial", fmt.Sprint(news.Get("num_live"), news.Get("limited"), news.Get("initial")), "1 false ")
	want(t, "state of news", required(news), "")
	want(t, "bumped", news.Get("bump_stamp").Int() > 0, true)

	// A long poll ends with what it waited for.
	done := make(chan string, 1)
	go func() { done <- spoken(slid(s.sync(time.Minute), rooms[3])) }()
	time.Sleep(20 * time.Millisecond)
	w.say(rooms[3], "alice", "wake up")
	want(t, "the long poll", <-done, "wake up")

	// The next process doesn't know the connection.
	s.w = w.restart()
	status, answer := s.try(0)
	want(t, "after a restart", fmt.Sprint(status, answer.Get("errcode")), "400 M_UNKNOWN_POS")
	s.pos = ""
	want(t, "anew", roomsOf(s.sync(0)), 5)
}

// TestSlidingMemberships follows one person's invitations, knocks, stays and departures, in
// both ways of writing it.
func TestSlidingMemberships(t *testing.T) {
	for _, v4 := range []bool{false, true} {
		t.Run(fmt.Sprint("v4=", v4), func(t *testing.T) {
			w := newWorld(t)
			s := w.slider("bob")
			s.lists = window(20, 10, `[["m.room.member","$ME"]]`)
			stripped := "invite_state"
			if s.v4 = v4; v4 {
				s.lists, stripped = `{"all":{"range":[0,19],"timeline_limit":10,"required_state":{"include":[{"type":"m.room.member","state_key":"@bob:test.local"}]}}}`, "stripped_state"
			}
			want(t, "rooms of somebody new", roomsOf(s.sync(0)), 0)
			room := w.newRoom("alice", roomserver.InitialEvent{Type: "m.room.name", StateKey: new(""), Content: map[string]any{"name": "Lab"}})
			w.say(room, "alice", "secret")
			tell := func(what, wanted string) gjson.Result {
				t.Helper()
				r := slid(s.sync(0), room)
				got := fmt.Sprint(r.Exists(), r.Get("initial").Bool(), " state:", required(r), " said:", spoken(r))
				want(t, what, strings.TrimSpace(got), wanted)
				if v4 && r.Exists() {
					want(t, what+": membership", r.Get("membership").Exists(), true)
				}
				return r
			}
			w.membership(room, "alice", "bob", "invite")
			invited := tell("invited", "true true state: said:")
			want(t, "stripped state", invited.Get(stripped+`.#(type=="m.room.name").content.name`).Str, "Lab")
			want(t, "a secret", strings.Contains(invited.Raw, "secret") || invited.Get("joined_count").Exists(), false)
			tell("nothing", "false false state: said:")
			w.membership(room, "bob", "bob", "leave")
			tell("declined", "true false state:@bob:leave said:@bob:leave")
			tell("nothing", "false false state: said:")
			w.membership(room, "alice", "bob", "invite")
			tell("invited again", "true false state: said:")
			w.join(room, "bob")
			tell("joined", "true true state:@bob:join said:create @alice:join power_levels join_rules name secret @bob:invite @bob:leave @bob:invite @bob:join")
			w.say(room, "alice", "hi")
			w.membership(room, "bob", "bob", "leave")
			w.say(room, "alice", "behind your back")
			tell("left", "true false state:@bob:leave said:hi @bob:leave")
			w.say(room, "alice", "still talking")
			want(t, "after leaving", tell("nothing", "false false state: said:").Exists(), false)
			fresh := &slider{w: w, token: "bob/TABLET", v4: v4, lists: s.lists}
			want(t, "left rooms of a new connection", roomsOf(fresh.sync(0)), 0)
			w.join(room, "bob")
			tell("back", "true true state:@bob:join said:secret @bob:invite @bob:leave @bob:invite @bob:join hi @bob:leave behind your back still talking @bob:join")
			w.membership(room, "alice", "bob", "ban")
			tell("banned", "true false state:@bob:ban said:@bob:ban")
			fresh.pos = ""
			want(t, "banned rooms of a new connection", roomsOf(fresh.sync(0)), 1)
			w.membership(room, "alice", "carol", "ban")
			carol := &slider{w: w, token: "carol/PHONE", v4: v4, lists: s.lists}
			want(t, "bans of who never was in", roomsOf(carol.sync(0)), 0)
		})
	}
}

// TestSlidingLists asks for rooms by every filter.
func TestSlidingLists(t *testing.T) {
	w := newWorld(t)
	named := func(name string, more ...roomserver.InitialEvent) string {
		return w.newRoom("bob", append(more, roomserver.InitialEvent{Type: "m.room.name", StateKey: new(""), Content: map[string]any{"name": name}})...)
	}
	plain, direct, tagged := named("Plain"), named("Direct"), named("Tagged")
	secret := named("Secret", roomserver.InitialEvent{Type: "m.room.encryption", StateKey: new(""), Content: map[string]any{"algorithm": "m.megolm.v1.aes-sha2"}})
	space, err := w.rooms.NewRoom(t.Context(), roomserver.NewRoomRequest{Creator: id("bob"), Version: "12", CreateContent: map[string]any{"type": "m.space"},
		Events: []roomserver.InitialEvent{
			{Type: "m.room.member", StateKey: new(id("bob")), Content: map[string]any{"membership": "join"}},
			{Type: "m.room.name", StateKey: new(""), Content: map[string]any{"name": "Space"}},
			{Type: "m.space.child", StateKey: new(plain), Content: map[string]any{"via": []string{"test.local"}}},
			{Type: "m.space.child", StateKey: new(direct), Content: map[string]any{}},
		}})
	if err != nil {
		t.Fatal(err)
	}
	invited := w.newRoom("alice", roomserver.InitialEvent{Type: "m.room.name", StateKey: new(""), Content: map[string]any{"name": "Invited"}})
	w.membership(invited, "alice", "bob", "invite")
	w.ok("PUT", "/user/"+id("bob")+"/account_data/m.direct", "bob/PHONE", map[string]any{"@x:y": []string{direct}})
	w.ok("PUT", "/user/"+id("bob")+"/rooms/"+tagged+"/tags/m.favourite", "bob/PHONE", map[string]any{})
	names := map[string]string{plain: "Plain", direct: "Direct", tagged: "Tagged", secret: "Secret", space: "Space", invited: "Invited"}
	for filters, wanted := range map[string]string{
		`{}`:                                 "Direct Invited Plain Secret Space Tagged",
		`{"is_dm":true}`:                     "Direct",
		`{"is_dm":false}`:                    "Invited Plain Secret Space Tagged",
		`{"is_encrypted":true}`:              "Secret",
		`{"is_encrypted":false}`:             "Direct Invited Plain Space Tagged",
		`{"is_invite":true}`:                 "Invited",
		`{"is_invite":false}`:                "Direct Plain Secret Space Tagged",
		`{"room_types":["m.space"]}`:         "Space",
		`{"room_types":[null]}`:              "Direct Invited Plain Secret Tagged",
		`{"not_room_types":["m.space"]}`:     "Direct Invited Plain Secret Tagged",
		`{"tags":["m.favourite","u.other"]}`: "Tagged",
		`{"not_tags":["m.favourite"]}`:       "Direct Invited Plain Secret Space",
		`{"spaces":["` + space + `"]}`:       "Plain",
		`{"spaces":["!unknown:test.local"]}`: "",
		`{"room_name_like":"E"}`:             "Direct Invited Secret Space Tagged",
		`{"is_dm":false,"is_invite":false,"is_encrypted":false,"not_room_types":["m.space"]}`: "Plain Tagged",
	} {
		for _, v4 := range []bool{false, true} {
			s := w.slider("bob")
			s.lists = `{"l":{"ranges":[[0,99]],"timeline_limit":1,"required_state":[],"filters":` + filters + `}}`
			if s.v4 = v4; v4 {
				s.lists = strings.NewReplacer(`"ranges":[[0,99]]`, `"range":[0,99]`, `"required_state":[]`, `"required_state":{}`, "is_invite", "is_invited").Replace(s.lists)
			}
			answer := s.sync(0)
			var got []string
			for room := range answer.Get("rooms").Map() {
				got = append(got, names[room])
			}
			slices.Sort(got)
			want(t, filters, strings.Join(got, " "), wanted)
			want(t, "count of "+filters, answer.Get("lists.l.count").Int(), len(got))
		}
	}
	// Windows overlap and are sorted by what happened last; what is told of a room in two
	// lists is what either wants.
	w.say(tagged, "bob", "hi")
	s := w.slider("bob")
	s.lists = `{"a":{"ranges":[[0,0],[2,2]],"timeline_limit":1,"required_state":[["m.room.name",""]]},
		"b":{"ranges":[[0,0]],"timeline_limit":2,"required_state":[["m.room.create",""]],"filters":{"tags":["m.favourite"]}}}`
	answer := s.sync(0)
	want(t, "rooms in windows", fmt.Sprint(roomsOf(answer), slid(answer, tagged).Exists(), slid(answer, space).Exists()), "2 true true")
	want(t, "of both lists", required(slid(answer, tagged))+": "+spoken(slid(answer, tagged)), "create name: name hi")
}

// TestSlidingExtensions follows what doesn't belong to rooms, or isn't an event.
func TestSlidingExtensions(t *testing.T) {
	w := newWorld(t)
	one, two := w.newRoom("alice"), w.newRoom("alice")
	for _, room := range []string{one, two} {
		w.join(room, "bob")
	}
	seen := w.say(one, "alice", "read this")
	w.read(one, "alice", "m.read", seen, nil)
	w.read(one, "bob", "m.read.private", seen, nil)
	w.ok("PUT", "/user/"+id("bob")+"/rooms/"+two+"/account_data/org.example", "bob/PHONE", map[string]any{"n": 1})
	all := `"account_data":{"enabled":true},"receipts":{"enabled":true},"typing":{"enabled":true},"e2ee":{"enabled":true}`
	s := w.slider("bob")
	s.lists, s.extensions = window(10, 5, `[]`), `{"to_device":{"enabled":true},`+all+`}`
	first := s.sync(0).Get("extensions")
	want(t, "receipts", first.Get("receipts.rooms." + gjson.Escape(one) + ".content").Map()[seen].Exists(), true)
	want(t, "my private receipt", strings.Contains(first.Get("receipts").Raw, "m.read.private"), true)
	want(t, "my data of a room", first.Get("account_data.rooms."+gjson.Escape(two)+".0.content.n").Int(), 1)
	want(t, "my push rules", first.Get(`account_data.global.#(type=="m.push_rules").content.global.override.#`).Int() > 0, true)
	want(t, "keys", first.Get("e2ee.device_one_time_keys_count.signed_curve25519").Raw, "0")
	want(t, "lists of devices", first.Get("e2ee.device_lists").Exists(), false)
	since := first.Get("to_device.next_batch").Str

	// News of each kind, and each once.
	w.ok("PUT", "/rooms/"+one+"/typing/"+id("alice"), "alice/PHONE", map[string]any{"typing": true})
	w.read(two, "alice", "m.read", w.say(two, "alice", "and this"), nil)
	w.ok("PUT", "/user/"+id("bob")+"/account_data/org.example", "bob/PHONE", map[string]any{"n": 2})
	s.extensions = `{"to_device":{"enabled":true,"since":"` + since + `"},` + all + `}`
	news := s.sync(0)
	x := news.Get("extensions")
	want(t, "typing", x.Get("typing.rooms."+gjson.Escape(one)+".content.user_ids").Raw, `["@alice:test.local"]`)
	want(t, "new receipts", len(x.Get("receipts.rooms").Map()), 1)
	want(t, "new data", x.Get("account_data.global").Raw, `[{"content":{"n":2},"type":"org.example"}]`)
	want(t, "what was said", spoken(slid(news, two)), "and this")
	again := s.sync(0)
	want(t, "nothing again", again.Get("extensions.typing.rooms").Raw+again.Get("extensions.receipts.rooms").Raw+
		again.Get("extensions.account_data").Raw+again.Get("rooms").Raw, `{}{}{"global":[],"rooms":{}}{}`)

	// Extensions can be narrowed down.
	narrow := &slider{w: w, token: "bob/TABLET", lists: window(10, 5, `[]`), subscriptions: `{"` + two + `":{"timeline_limit":1}}`,
		extensions: `{"account_data":{"enabled":true,"lists":[],"rooms":["*"]},"receipts":{"enabled":true,"lists":[],"rooms":["` + one + `"]},"typing":{"enabled":true,"lists":["other"],"rooms":[]}}`}
	x = narrow.sync(0).Get("extensions")
	want(t, "data of the room that was subscribed to", len(x.Get("account_data.rooms").Map()), 1)
	want(t, "receipts of the room that was named", x.Get("receipts.rooms").Map()[one].Exists(), true)
	want(t, "receipts of others", len(x.Get("receipts.rooms").Map()), 1)
	want(t, "typing in other lists", x.Get("typing.rooms").Raw, `{}`)
}

// TestSlidingPos tries every pos that isn't the client's own newest.
func TestSlidingPos(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("bob")
	s := w.slider("bob")
	s.lists = window(10, 5, `[]`)
	s.sync(0)
	first := s.pos
	w.say(room, "bob", "one")
	s.sync(0)
	second := s.pos
	s.sync(0)
	refused := func(what string, s *slider) {
		t.Helper()
		status, answer := s.try(0)
		want(t, what, fmt.Sprint(status, answer.Get("errcode")), "400 M_UNKNOWN_POS")
	}
	refused("one from before", &slider{w: w, token: s.token, lists: s.lists, pos: first})
	refused("of another user", &slider{w: w, token: "eve/PHONE", lists: s.lists, pos: s.pos})
	refused("of another device", &slider{w: w, token: "bob/TABLET", lists: s.lists, pos: s.pos})
	refused("of another connection", &slider{w: w, token: s.token, lists: s.lists, pos: s.pos, conn: "other"})
	refused("made up", &slider{w: w, token: s.token, lists: s.lists, pos: "p9_9_9_9_00"})
	refused("no pos at all", &slider{w: w, token: s.token, lists: s.lists, pos: "nonsense"})
	again := &slider{w: w, token: s.token, lists: s.lists, pos: second}
	want(t, "the newest that was used", again.sync(0).Get("pos").Exists(), true)

	// Without rooms there is nothing to remember, so that a restart is not noticed.
	keys := &slider{w: w, token: s.token, conn: "encryption", extensions: `{"e2ee":{"enabled":true},"to_device":{"enabled":true}}`}
	keys.sync(0)
	w = w.restart()
	keys.w = w
	want(t, "after a restart", keys.sync(0).Get("pos").Exists(), true)

	// A device has a few connections at most.
	oldest := &slider{w: w, token: s.token, lists: s.lists, conn: "oldest"}
	oldest.sync(0)
	for i := range maxDeviceConnections {
		(&slider{w: w, token: s.token, lists: s.lists, conn: fmt.Sprint(i)}).sync(0)
	}
	refused("the oldest of too many", oldest)
}

// TestSlidingRefusals sends what can't be answered.
func TestSlidingRefusals(t *testing.T) {
	w := newWorld(t)
	many := map[string]any{}
	for i := range 101 {
		many[fmt.Sprintf("!%d:x", i)] = map[string]any{"timeline_limit": 1, "required_state": map[string]any{}}
	}
	list := func(members string) string { return `{"lists":{"l":{` + members + `}}}` }
	for body, code := range map[string]string{
		`{"lists":[]}`:                                              "M_BAD_JSON",
		`{"lists":{"":{}}}`:                                         "M_INVALID_PARAM",
		`{"lists":{"a b":{}}}`:                                      "M_INVALID_PARAM",
		`{"timeout":-1}`:                                            "M_INVALID_PARAM",
		`{"set_presence":"mad"}`:                                    "M_INVALID_PARAM",
		list(`"required_state":{}`):                                 "M_MISSING_PARAM",
		list(`"timeline_limit":-1`):                                 "M_INVALID_PARAM",
		list(`"timeline_limit":1,"range":[5,1]`):                    "M_INVALID_PARAM",
		list(`"timeline_limit":1,"range":[1]`):                      "M_INVALID_PARAM",
		list(`"timeline_limit":1,"range":[-1,1]`):                   "M_INVALID_PARAM",
		list(`"timeline_limit":1,"required_state":[]`):              "M_BAD_JSON",
		list(`"timeline_limit":1,"filters":{"tags":"a"}`):           "M_BAD_JSON",
		`{"extensions":{"to_device":{"enabled":true,"since":"x"}}}`: "M_INVALID_PARAM",
		`{"extensions":{"to_device":{"since":"999999999"}}}`:        "M_INVALID_PARAM",
	} {
		status, answer := w.do("POST", "/_matrix/client/v4/sync", "bob/PHONE", json.RawMessage(body))
		want(t, body, fmt.Sprint(status, answer.Get("errcode")), "400 "+code)
	}
	status, answer := w.do("POST", "/_matrix/client/v4/sync", "bob/PHONE", map[string]any{"room_subscriptions": many})
	want(t, "too many subscriptions", fmt.Sprint(status, answer.Get("errcode")), "400 M_INVALID_PARAM")
}

// TestSlidingBackup answers a connection for encryption alone when the user has sent something
// encrypted, as clients back up the keys of that then.
func TestSlidingBackup(t *testing.T) {
	w := newWorld(t)
	room := w.newRoom("bob")
	w.join(room, "carol")
	s := w.slider("bob")
	s.conn, s.extensions = "encryption", `{"e2ee":{"enabled":true},"to_device":{"enabled":true}}`
	s.sync(0)
	w.event(room, "carol", "m.room.encrypted", nil, map[string]any{"ciphertext": "x"})
	s.sync(50 * time.Millisecond)
	w.event(room, "bob", "m.room.encrypted", nil, map[string]any{"ciphertext": "x"})
	answer := s.sync(time.Hour)
	want(t, "keys", answer.Get("extensions.e2ee.device_one_time_keys_count").Exists(), true)
}
