package push

import (
	"encoding/json"
	"fmt"
	"testing"

	"hearth/roomserver"
	"hearth/storage"
)

// TestConditions holds every kind of condition against an event.
func TestConditions(t *testing.T) {
	text := `{"type":"m.room.message","sender":"@alice:a.b","state_key":"k","content":{"body":"An exciting triple-whammy, Bob_1 said CAKE",
		"n":3,"big":9007199254740993,"f":1.5,"yes":true,"nothing":null,"m.dot":{"a\\b":"x"},"list":["a",1,true,null,{"x":1}]}}`
	on := newSubject(roomserver.Occasion{
		Event:  &storage.Event{ID: "$e", RoomID: "!r:a.b", Type: "m.room.message", Sender: "@alice:a.b", JSON: []byte(text)},
		Joined: 10, DisplayName: func(string) string { return "bob_1" }, MayNotify: func(kind string) bool { return kind == "room" },
	}, nil)
	for condition, want := range map[string]bool{
		`{"kind":"event_match","key":"type","pattern":"M.ROOM.*"}`:                  true,
		`{"kind":"event_match","key":"type","pattern":"room"}`:                      false,
		`{"kind":"event_match","key":"room_id","pattern":"!r:a.b"}`:                 true,
		`{"kind":"event_match","key":"event_id","pattern":"$?"}`:                    true,
		`{"kind":"event_match","key":"content.body","pattern":"ex*ple"}`:            true,
		`{"kind":"event_match","key":"content.body","pattern":"cake"}`:              true,
		`{"kind":"event_match","key":"content.body","pattern":"cak"}`:               false,
		`{"kind":"event_match","key":"content.body","pattern":"cak?"}`:              true,
		`{"kind":"event_match","key":"content.body","pattern":"bob"}`:               false,
		`{"kind":"event_match","key":"content.n","pattern":"*"}`:                    false,
		`{"kind":"event_match","key":"content.absent","pattern":"*"}`:               false,
		`{"kind":"event_match","key":"content.m\\.dot.a\\\\b","pattern":"x"}`:       true,
		`{"kind":"event_match","key":"content.m.dot.a\\b","pattern":"x"}`:           false,
		`{"kind":"event_match","key":"content.body"}`:                               false,
		`{"kind":"event_match","pattern":"*"}`:                                      false,
		`{"kind":"event_match","key":"content.@pretty","pattern":"*"}`:              false,
		`{"kind":"event_property_is","key":"content.n","value":3}`:                  true,
		`{"kind":"event_property_is","key":"content.n","value":"3"}`:                false,
		`{"kind":"event_property_is","key":"content.f","value":1.5}`:                false,
		`{"kind":"event_property_is","key":"content.big","value":9007199254740993}`: false,
		`{"kind":"event_property_is","key":"content.yes","value":true}`:             true,
		`{"kind":"event_property_is","key":"content.yes","value":false}`:            false,
		`{"kind":"event_property_is","key":"content.nothing","value":null}`:         true,
		`{"kind":"event_property_is","key":"content.absent","value":null}`:          false,
		`{"kind":"event_property_is","key":"content.list","value":["a"]}`:           false,
		`{"kind":"event_property_is","key":"content.n"}`:                            false,
		`{"kind":"event_property_contains","key":"content.list","value":"a"}`:       true,
		`{"kind":"event_property_contains","key":"content.list","value":1}`:         true,
		`{"kind":"event_property_contains","key":"content.list","value":null}`:      true,
		`{"kind":"event_property_contains","key":"content.list","value":"b"}`:       false,
		`{"kind":"event_property_contains","key":"content.body","value":"a"}`:       false,
		`{"kind":"contains_display_name"}`:                                          true,
		`{"kind":"room_member_count","is":"10"}`:                                    true,
		`{"kind":"room_member_count","is":"==10"}`:                                  true,
		`{"kind":"room_member_count","is":"<10"}`:                                   false,
		`{"kind":"room_member_count","is":">=10"}`:                                  true,
		`{"kind":"room_member_count","is":"<>10"}`:                                  false,
		`{"kind":"room_member_count","is":""}`:                                      false,
		`{"kind":"room_member_count","is":"99999999999999999999"}`:                  false,
		`{"kind":"sender_notification_permission","key":"room"}`:                    true,
		`{"kind":"sender_notification_permission","key":"everyone"}`:                false,
		`{"kind":"org.example.unknown","key":"content.body","pattern":"*"}`:         false,
	} {
		var c Condition
		if err := json.Unmarshal([]byte(condition), &c); err != nil {
			t.Errorf("%s: %v", condition, err)
			continue
		}
		if got := c.holds("@bob:a.b", on); got != want {
			t.Errorf("%s: %v, want %v", condition, got, want)
		}
		again, err := json.Marshal(c)
		if err != nil || len(again) < len(`{"kind":""}`) {
			t.Errorf("%s is written as %s, %v", condition, again, err)
		}
	}
}

// BenchmarkVerdicts measures what an event costs for each member who has rules of their
// own.
func BenchmarkVerdicts(b *testing.B) {
	rules := DefaultRuleset("@bob:a.b")
	for i := range 20 {
		if err := rules.Put("content", Rule{ID: fmt.Sprint("word", i), Pattern: fmt.Sprint("word", i), Actions: []any{"notify"}}, "", ""); err != nil {
			b.Fatal(err)
		}
	}
	e := &storage.Event{ID: "$e", RoomID: "!r", Type: "m.room.message", Sender: "@alice:a.b",
		JSON: []byte(`{"content":{"body":"a message as people write them, not too long","msgtype":"m.text"},"type":"m.room.message"}`)}
	o := roomserver.Occasion{Event: e, Joined: 100, DisplayName: func(string) string { return "" }, MayNotify: func(string) bool { return false }}
	for b.Loop() {
		rules.evaluate("@bob:a.b", newSubject(o, nil))
	}
}
