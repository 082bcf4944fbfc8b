package filter

import (
	"encoding/json"
	"testing"

	"hearth/storage"
)

func TestFields(t *testing.T) {
	event := []byte(`{"type":"m.x","content":{"body":"hi","a.b":1,"c\\\\d":2,"deep":{"er":[1],"est":{"1000000000":2}}},"sender":"@a:b"}`)
	for fields, want := range map[string]string{
		`["type"]`:                                 `{"type":"m.x"}`,
		`["content.body","type"]`:                  `{"type":"m.x","content":{"body":"hi"}}`,
		`["content.a\\.b"]`:                        `{"content":{"a.b":1}}`,
		`["content","content.body"]`:               `{"content":{"body":"hi","a.b":1,"c\\\\d":2,"deep":{"er":[1],"est":{"1000000000":2}}}}`,
		`["content.deep.est.1000000000"]`:          `{"content":{"deep":{"est":{"1000000000":2}}}}`,
		`["type.x","nothing","content.deep.er.0"]`: `{"content":{"deep":{}}}`,
		`["#","@reverse","content.*"]`:             `{"content":{}}`,
	} {
		f, err := ParseSync([]byte(`{"event_fields":` + fields + `}`))
		if err != nil {
			t.Fatalf("%s: %v", fields, err)
		}
		if got := string(f.Fields(event)); got != want {
			t.Errorf("%s keeps %s, want %s", fields, got, want)
		}
	}
}

func TestMatching(t *testing.T) {
	e := &storage.Event{RoomID: "!r", Type: "m.room.message", Sender: "@a:b", JSON: []byte(`{"content":{"url":"mxc://x","m.relates_to":{"rel_type":"m.thread","event_id":"$x"}}}`)}
	for text, want := range map[string]bool{
		`{}`:                                            true,
		`{"types":null}`:                                true,
		`{"types":[]}`:                                  false,
		`{"types":["m.room.*"]}`:                        true,
		`{"types":["m.*.mess*"]}`:                       true,
		`{"types":["m.*.mess"]}`:                        false,
		`{"types":["*"],"not_types":["*room*"]}`:        false,
		`{"senders":["@c:d"]}`:                          false,
		`{"not_senders":["@a:b"]}`:                      false,
		`{"rooms":["!q"]}`:                              false,
		`{"not_rooms":["!r"]}`:                          false,
		`{"contains_url":true}`:                         true,
		`{"contains_url":false}`:                        false,
		`{"org.matrix.msc3874.rel_types":["m.thread"]}`: true,
		`{"org.matrix.msc3874.rel_types":["m.reference",""]}`:                                           false,
		`{"org.matrix.msc3874.not_rel_types":["m.reference"]}`:                                          true,
		`{"org.matrix.msc3874.not_rel_types":["m.thread"]}`:                                             false,
		`{"org.matrix.msc3874.rel_types":["m.thread"],"org.matrix.msc3874.not_rel_types":["m.thread"]}`: false,
	} {
		f, err := ParseRoomEvents(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if f.Matches(e) != want {
			t.Errorf("%s matches: %v", text, !want)
		}
	}
	plain := &storage.Event{RoomID: "!r", Type: "m.room.message", Sender: "@a:b", JSON: []byte(`{"content":{}}`)}
	for text, want := range map[string]bool{
		`{"org.matrix.msc3874.rel_types":["m.thread",""]}`:  false,
		`{"org.matrix.msc3874.not_rel_types":["m.thread"]}`: true,
	} {
		if f, err := ParseRoomEvents(text); err != nil || f.Matches(plain) != want {
			t.Errorf("%s matches what relates to nothing: %v %v", text, !want, err)
		}
	}
	for _, text := range []string{`{"limit":-1}`, `{"types":"x"}`, `[]`, `{`, `{"rooms":["r"]}`, `{"not_rooms":["@r:x"]}`, `{"senders":["a"]}`, `{"not_senders":[""]}`} {
		if _, err := ParseRoomEvents(text); err == nil {
			t.Errorf("%s is taken for a filter", text)
		}
	}
}

// FuzzParseSync feeds what clients may send.
func FuzzParseSync(f *testing.F) {
	f.Add(`{"event_fields":["a.b\\\\.c"],"room":{"timeline":{"types":["m.*"],"limit":3}}}`, `{"a":{"b.c":1}}`)
	f.Fuzz(func(t *testing.T, text, event string) {
		parsed, err := ParseSync([]byte(text))
		if err != nil || !json.Valid([]byte(event)) {
			return
		}
		if kept := parsed.Fields([]byte(event)); !json.Valid(kept) {
			t.Fatalf("%s of %s leaves %s", text, event, kept)
		}
		parsed.Room.Timeline.Matches(&storage.Event{Type: event, Sender: text})
	})
}
