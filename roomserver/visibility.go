package roomserver

import "hearth/storage"

// historyKey names a history as of two pieces of state: while they are current,
// what was read of their past stays true.
type historyKey struct {
	room               int64
	userID             string
	member, visibility int64
}

// Visibility is what one user may see of a room's past.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
type Visibility struct {
	userID      string
	memberships []storage.ValueSince
	settings    []storage.ValueSince
	current     string // the user's membership now
	setting     string // the visibility now
}

// knownVisibility is the value itself, or shared for what the specification
// doesn't know.
func knownVisibility(v string) string {
	switch v {
	case "world_readable", "invited", "joined":
		return v
	}
	return "shared"
}

// valueAt returns the last value from before the place.
func valueAt(history []storage.ValueSince, p storage.Place) string {
	value := ""
	for _, h := range history {
		if !h.Before(p) {
			break
		}
		value = h.Value
	}
	return value
}

// MembershipAt returns the user's membership at a place in the timeline, after
// the event there: what a client is told as unsigned.membership.
func (vis *Visibility) MembershipAt(p storage.Place) string {
	if m := valueAt(vis.memberships, storage.Place{Position: p.Position, Sub: p.Sub + 1}); m != "" {
		return m
	}
	return "leave"
}

// MayPeek reports whether anyone may read the room as it is now.
func (vis *Visibility) MayPeek() bool { return vis.setting == "world_readable" }

// CanSee reports whether the user may see the event. Of an event that changes the
// user's membership or the visibility itself, the more permissive of before and
// after counts.
func (vis *Visibility) CanSee(e *storage.Event) bool {
	if vis.current == "join" && vis.setting == "shared" && len(vis.settings) <= 1 {
		return true // the usual case: nothing was ever hidden from members
	}
	own := e.Type == "m.room.member" && e.IsState() && *e.StateKey == vis.userID
	before := vis.allows(valueAt(vis.settings, e.Place), valueAt(vis.memberships, e.Place), e.Place)
	if before || !own && !(e.Type == "m.room.history_visibility" && e.IsState()) {
		return before
	}
	after := storage.Place{Position: e.Position, Sub: e.Sub + 1}
	return vis.allows(valueAt(vis.settings, after), valueAt(vis.memberships, after), e.Place) || own
}

func (vis *Visibility) allows(setting, membership string, p storage.Place) bool {
	if setting == "" {
		setting = vis.first()
	}
	switch {
	case setting == "world_readable", membership == "join":
		return true
	case knownVisibility(setting) == "shared":
		return vis.JoinedAfter(p)
	case setting == "invited":
		return membership == "invite"
	}
	return false
}

// first is the visibility before the timeline's first setting: that of a room
// without any.
func (vis *Visibility) first() string { return "shared" }

// JoinedAfter reports whether the user was in the room at any time after the
// place.
func (vis *Visibility) JoinedAfter(p storage.Place) bool {
	if vis.current == "join" {
		return true
	}
	for _, h := range vis.memberships {
		if h.Value == "join" && p.Before(h.Place) {
			return true
		}
	}
	return false
}

// WasIn reports whether the user is or was in the room.
func (vis *Visibility) WasIn() bool {
	for _, h := range vis.memberships {
		if h.Value == "join" {
			return true
		}
	}
	return false
}
