package federationapi

import (
	"encoding/json"
	"slices"
	"testing"

	"hearth/federationapi/client"
	"hearth/roomserver"
)

// TestMembersOmitted has a server that can do without the members join a room, which is
// named after some of them.
func TestMembersOmitted(t *testing.T) {
	all := newHearths(t, 2, nil)
	one, two := all[0], all[1]
	alice := one.user("alice")
	room, err := one.rooms.CreateRoom(background(t), roomserver.CreateRoomRequest{Creator: alice, Preset: "public_chat"})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "c", "d", "e", "f", "g", "h"} {
		one.member(room, one.user(name), "join")
	}
	ask := func(user, query string) (state, chain []string, answer object) {
		made := two.get(one, client.Path("/_matrix/federation/v1/make_join", room, user)+"?ver=12")
		var tmpl template
		text, err := json.Marshal(made)
		if err == nil {
			err = json.Unmarshal(text, &tmpl)
		}
		if err != nil {
			t.Fatal(err)
		}
		pdu, err := two.rooms.SignTemplate(tmpl.Version, &tmpl.Event)
		if err != nil {
			t.Fatal(err)
		}
		if err := two.client.Put(background(t), one.name, client.Path("/_matrix/federation/v2/send_join", room, pdu.EventID())+query,
			json.RawMessage(pdu.JSON()), &answer); err != nil {
			t.Fatal(err)
		}
		return keysOf(answer["state"]), keysOf(answer["auth_chain"]), answer
	}
	state, chain, answer := ask("@bob:"+two.name, "?omit_members=true")
	members := slices.DeleteFunc(slices.Clone(state), func(key string) bool { return key[0] != '@' })
	if len(members) != 5 || !slices.Contains(members, alice) {
		t.Errorf("the members that are told are %v", members)
	}
	if !slices.Contains(state, "m.room.create") || len(chain) != 0 {
		t.Errorf("the state is %v, what authorises it %v", state, chain)
	}
	if answer["members_omitted"] != true {
		t.Error("the answer doesn't say that members were omitted")
	}
	same(t, "servers in the room", answer["servers_in_room"], one.name)
	state, _, answer = ask("@carol:"+two.name, "")
	if len(state) < 8+5 || answer["members_omitted"] != false || answer["servers_in_room"] != nil {
		t.Errorf("without the wish to omit members the state is %v", state)
	}
	one.send(room, alice, "m.room.name", new(""), object{"name": "Lounge"})
	state, chain, answer = ask("@dave:"+two.name, "?omit_members=true")
	if slices.ContainsFunc(state, func(key string) bool { return key[0] == '@' }) || !slices.Contains(chain, alice) {
		t.Errorf("of a room with a name the state is %v, what authorises it %v", state, chain)
	}
	if n := len(answer["servers_in_room"].([]any)); n != 2 {
		t.Errorf("%d servers are in the room", n)
	}
}

// keysOf are the types of state events, and of member events the users.
func keysOf(events any) (list []string) {
	for _, e := range events.([]any) {
		key := e.(object)["type"].(string)
		if key == "m.room.member" {
			key = e.(object)["state_key"].(string)
		}
		list = append(list, key)
	}
	return list
}
