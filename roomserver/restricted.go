package roomserver

import (
	"net/http"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

// AuthorisedVia names, in a join's content, the user on whose power to invite it rests.
const AuthorisedVia = "join_authorised_via_users_server"

// authoriseRestricted names the local user on whose power a join under restricted join
// rules rests, if the joining user is in one of the rooms that the rules name. Errors are
// *httpapi.Error: M_FORBIDDEN for who is in none of them, and where another server
// may know better M_UNABLE_TO_AUTHORISE_JOIN, because this one isn't in all of those
// rooms, or M_UNABLE_TO_GRANT_JOIN, because none of its users may invite.
//
// https://spec.matrix.org/v1.19/server-server-api/#restricted-rooms
func (b *builder) authoriseRestricted(userID string, content map[string]any) error {
	current, _ := b.head.state.Get(storage.StateTuple{Type: "m.room.member", StateKey: userID})
	if current.Membership == "join" || current.Membership == "invite" {
		return nil
	}
	rules, err := b.stateContent("m.room.join_rules")
	if err != nil || !isRestricted(versionNumber(b.rm.version), gjson.GetBytes(rules, "join_rule").Str) {
		return err
	}
	if current.Membership == "ban" {
		return httpapi.Forbidden("%s is banned from the room", userID)
	}
	if err := b.meetsCondition(userID, gjson.GetBytes(rules, "allow")); err != nil {
		return err
	}
	via := b.inviter()
	if via == "" {
		return httpapi.New(http.StatusBadRequest, "M_UNABLE_TO_GRANT_JOIN", "No user of this server may invite to the room")
	}
	content[AuthorisedVia] = via
	return nil
}

// isRestricted reports whether a room version lets in members of other rooms by a join
// rule.
func isRestricted(version int, rule string) bool {
	return rule == "restricted" && version >= 8 || rule == "knock_restricted" && version >= 10
}

// maxConditions bounds the conditions of join rules that are looked at.
const maxConditions = 100

// meetsCondition reports nil if the user is in one of the rooms that join rules name.
func (b *builder) meetsCondition(userID string, allow gjson.Result) error {
	var unknown bool
	list := allow.Array()
	for _, condition := range list[:min(len(list), maxConditions)] {
		if condition.Get("type").Str != "m.room_membership" {
			continue
		}
		v, err := b.s.View(b.ctx, condition.Get("room_id").Str)
		if err != nil || b.s.JoinedServers(v)[b.s.o.ServerName] == 0 {
			unknown = true // what this server knew of the room may be long past
		} else if v.Membership(userID) == "join" {
			return nil
		}
	}
	if unknown {
		return httpapi.New(http.StatusBadRequest, "M_UNABLE_TO_AUTHORISE_JOIN", "This server isn't in all of the rooms whose members may join")
	}
	return httpapi.Forbidden("You aren't in any of the rooms whose members may join this one")
}

// inviter returns a joined local user with the power to invite, "" if there is none. Those
// with power of their own are looked at first: where power is needed, they are few.
func (b *builder) inviter() string {
	p := b.powerLevels()
	level := p.Action("invite")
	may := func(userID string) bool {
		member, _ := b.head.state.Get(storage.StateTuple{Type: "m.room.member", StateKey: userID})
		return member.Membership == "join" && userid.Domain(userID) == b.s.o.ServerName && p.Of(userID) >= level
	}
	for _, userID := range p.named() {
		if may(userID) {
			return userID
		}
	}
	if number(p.content.Get("users_default"), 0) < level {
		return ""
	}
	for it := b.head.state.Iterator(); !it.Done(); {
		if t, _, _ := it.Next(); t.Type == "m.room.member" && may(t.StateKey) {
			return t.StateKey
		}
	}
	return ""
}
