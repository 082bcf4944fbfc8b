package federationapi

import (
	"net/http"
	"testing"

	"hearth/federationapi/client"
	"hearth/roomserver"
)

// TestSpacesOfOthers has one server describe a space to another: the rooms that both
// may know of, and for a short time only once.
func TestSpacesOfOthers(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice, bob := "@alice:"+one.name, "@bob:"+two.name
	create := func(preset, name string, kind string) string {
		t.Helper()
		id, err := one.rooms.CreateRoom(background(t), roomserver.CreateRoomRequest{Creator: alice, Version: "11", Preset: preset, Name: name,
			CreationContent: map[string]any{"type": kind}})
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	space, open, closed := create("public_chat", "space", "m.space"), create("public_chat", "open", ""), create("private_chat", "closed", "")
	for _, room := range []string{open, closed, "!unknown:" + one.name} {
		one.send(space, alice, "m.space.child", &room, object{"via": []string{one.name}})
	}
	told := two.api.AskSpace(background(t), space, []string{two.name, one.name}, false)
	if told == nil || told.Room.Name != "space" || len(told.Room.Children) != 3 {
		t.Fatalf("the space is %+v", told)
	}
	if len(told.Children) != 1 || told.Children[0].RoomID != open || len(told.Inaccessible) != 1 || told.Inaccessible[0] != closed {
		t.Errorf("its children are %+v, inaccessible %v", told.Children, told.Inaccessible)
	}
	if again := two.api.AskSpace(background(t), space, []string{one.name}, false); again != told {
		t.Error("the space is asked for twice within a moment")
	}
	if two.api.AskSpace(background(t), closed, []string{one.name}, false) != nil {
		t.Error("a closed room is described")
	}

	path := client.Path("/_matrix/federation/v1/hierarchy", closed)
	two.refused(http.StatusNotFound, "M_NOT_FOUND", one, "GET", path, nil)
	two.refused(http.StatusBadRequest, "M_INVALID_PARAM", one, "GET", path+"?suggested_only=x", nil)
	one.send(closed, alice, "m.room.join_rules", new(""), object{"join_rule": "restricted",
		"allow": []object{{"type": "m.room_membership", "room_id": open}}})
	two.refused(http.StatusNotFound, "M_NOT_FOUND", one, "GET", path, nil)
	one.member(open, bob, "join")
	if room := two.get(one, path)["room"].(object); room["name"] != "closed" {
		t.Errorf("to a server with users who may join, the room is %v", room)
	}
	if two.api.AskSpace(background(t), closed, []string{one.name}, false) == nil {
		t.Error("that the room was closed is remembered")
	}
	one.send(closed, alice, "m.room.server_acl", new(""), object{"allow": []string{"elsewhere"}})
	two.refused(http.StatusNotFound, "M_NOT_FOUND", one, "GET", path, nil)
}
