package roomserver

import (
	"strings"

	"github.com/tidwall/gjson"

	"hearth/storage"
)

// summarise keeps the room's directory entry in step with a state event that has
// just become current; before and after are memberships, for member events.
func (b *builder) summarise(e *storage.Event, before, after string) {
	s := &b.head.summary
	content := func(path string) string { return storable(gjson.GetBytes(e.JSON, "content."+path).Str) }
	if e.Type == "m.room.member" {
		if before == after {
			return
		}
		s.JoinedMembers += count(after, "join") - count(before, "join")
		s.InvitedMembers += count(after, "invite") - count(before, "invite")
		b.summaryChanged = true
		return
	}
	if *e.StateKey != "" {
		return
	}
	switch e.Type {
	case "m.room.create":
		s.RoomType = content("type")
	case "m.room.name":
		s.Name = content("name")
	case "m.room.topic":
		s.Topic = content("topic")
	case "m.room.canonical_alias":
		s.CanonicalAlias = content("alias")
	case "m.room.avatar":
		s.AvatarURL = content("url")
	case "m.room.join_rules":
		s.JoinRule = content("join_rule")
	case "m.room.history_visibility":
		s.HistoryVisibility = content("history_visibility")
	case "m.room.guest_access":
		s.GuestCanJoin = content("guest_access") == "can_join"
	case "m.room.encryption":
		s.Encryption = content("algorithm")
	default:
		return
	}
	b.summaryChanged = true
}

// storable is a text of an event as a column can hold it: events may have NUL in theirs.
func storable(s string) string { return strings.ReplaceAll(s, "\x00", "") }

func count(membership, wanted string) int {
	if membership == wanted {
		return 1
	}
	return 0
}
