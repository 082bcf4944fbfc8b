package syncapi

import (
	"github.com/tidwall/gjson"

	"hearth/roomserver"
	"hearth/storage"
)

// roomData is what is known of a user's account data of a room.
type roomData struct {
	// newest is the position of the newest piece.
	newest storage.Position
	tags   []string
	tagsAt storage.Position
}

// noteData takes over a piece of the user's account data. The hub's lock is held for
// writing.
func (u *user) noteData(d storage.AccountData) {
	switch {
	case d.RoomID != "":
		known := u.roomData[d.RoomID]
		known.newest = max(known.newest, d.Position)
		if d.Type == "m.tag" && d.Position > known.tagsAt {
			known.tags, known.tagsAt = tagNames(d.Content), d.Position
		}
		u.roomData[d.RoomID] = known
	case d.Type == "m.ignored_user_list":
		u.setIgnored(d)
	case roomserver.IsInviteRules(d.Type) && d.Position > u.invitesAt[d.Type]:
		u.invites, u.invitesAt[d.Type] = u.invites.With(d.Type, d.Content), d.Position
	case d.Type == "m.direct" && d.Position > u.directAt:
		u.direct, u.directAt = directRooms(d.Content), d.Position
	}
}

// tagNames lists the tags in the content of m.tag.
func tagNames(content []byte) (names []string) {
	tags := gjson.GetBytes(content, "tags")
	if !tags.IsObject() {
		return nil
	}
	tags.ForEach(func(name, _ gjson.Result) bool {
		names = append(names, name.String())
		return true
	})
	return names
}

// directRooms are the rooms in the content of m.direct, which lists them by user. The map
// is replaced, not changed.
//
// https://spec.matrix.org/v1.19/client-server-api/#mdirect
func directRooms(content []byte) map[string]bool {
	rooms := map[string]bool{}
	gjson.ParseBytes(content).ForEach(func(_, list gjson.Result) bool {
		for _, id := range list.Array() {
			if id.Type == gjson.String {
				rooms[id.Str] = true
			}
		}
		return true
	})
	return rooms
}
