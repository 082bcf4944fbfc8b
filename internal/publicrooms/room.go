package publicrooms

import (
	"strings"

	"hearth/storage"
)

// Room is a room as it is shown to who isn't in it.
type Room struct {
	RoomID         string `json:"room_id"`
	Name           string `json:"name,omitempty"`
	Topic          string `json:"topic,omitempty"`
	CanonicalAlias string `json:"canonical_alias,omitempty"`
	AvatarURL      string `json:"avatar_url,omitempty"`
	JoinRule       string `json:"join_rule,omitempty"`
	RoomType       string `json:"room_type,omitempty"`
	JoinedMembers  int    `json:"num_joined_members"`
	WorldReadable  bool   `json:"world_readable"`
	GuestCanJoin   bool   `json:"guest_can_join"`
}

// NewRoom shows a room's directory entry.
func NewRoom(roomID string, s *storage.RoomSummary) Room {
	r := Room{
		RoomID: roomID, Name: s.Name, Topic: s.Topic, CanonicalAlias: s.CanonicalAlias, AvatarURL: s.AvatarURL,
		JoinRule: s.JoinRule, RoomType: s.RoomType, JoinedMembers: s.JoinedMembers,
		WorldReadable: s.HistoryVisibility == "world_readable", GuestCanJoin: s.GuestCanJoin,
	}
	if r.JoinRule == "" {
		r.JoinRule = "invite" // left out it would mean public
	}
	r.Clean()
	return r
}

// Clean leaves out an alias or a picture that is none: a room's members, and other
// servers, may write anything there.
func (r *Room) Clean() {
	if !strings.HasPrefix(r.CanonicalAlias, "#") {
		r.CanonicalAlias = ""
	}
	if !strings.HasPrefix(r.AvatarURL, "mxc://") {
		r.AvatarURL = ""
	}
}
