package federationapi

import (
	"encoding/json"
	"testing"

	"hearth/federationapi/client"
)

// TestVersionGrows has what is known of a room's past take its place in the timeline. Whoever
// has the room in memory tells by its version whether somebody else has changed it since.
func TestVersionGrows(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	room := one.room("12")
	two.join(room, "@bob:"+two.name, one)
	version := func() int64 {
		r, err := two.db.GetRoom(background(t), room)
		if err != nil {
			t.Fatal(err)
		}
		return r.Version
	}
	v, err := one.rooms.View(background(t), room)
	if err != nil {
		t.Fatal(err)
	}
	name, err := one.rooms.StateEvent(background(t), v, "m.room.name", "")
	if err != nil {
		t.Fatal(err)
	}
	before := version()
	if _, err := one.client.Do(background(t), client.Request{Method: "PUT", Server: two.name, URI: "/_matrix/federation/v1/send/known",
		Body: object{"pdus": []json.RawMessage{name.JSON}}}); err != nil {
		t.Fatal(err)
	}
	if after := version(); after <= before {
		t.Errorf("the room's version went from %d to %d", before, after)
	}
}
