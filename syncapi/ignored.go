package syncapi

import (
	"hearth/roomserver"
	"hearth/storage"
)

// unwanted reports whether the user isn't to be shown the membership: an invitation from
// somebody whom they ignore, or whose invitations they don't take. The hub's lock is held.
//
// https://spec.matrix.org/v1.19/client-server-api/#invite-permission
func (u *user) unwanted(m storage.Membership) bool {
	return m.Membership == "invite" && (u.ignored[m.Sender] || u.invites.Judge(m.Sender) != roomserver.InviteTaken)
}

// setIgnored takes over whom the user ignores. The hub's lock is held for writing.
//
// https://spec.matrix.org/v1.19/client-server-api/#mignored_user_list
func (u *user) setIgnored(d storage.AccountData) {
	if d.Position <= u.ignoredAt {
		return
	}
	u.ignoredAt = d.Position
	ignored := map[string]bool{}
	for _, id := range roomserver.IgnoredUsers(u.id, d.Content) {
		ignored[id] = true
	}
	u.ignored = ignored
	clear(u.unread) // what the ignored have said doesn't count any more
}

// sees reports whether an event belongs in the timeline of this client: the user
// may see it, doesn't ignore who sent it, and the filter lets it pass. State is
// shown whoever sent it.
func (q *request) sees(s *roomShot, e *storage.Event) bool {
	return s.vis.CanSee(e) && (e.IsState() || !q.ignored[e.Sender]) && q.filter.Room.Timeline.Matches(e)
}
