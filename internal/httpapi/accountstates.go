package httpapi

import (
	"regexp"
	"strings"
)

// accountStates says which accounts an operation is for.
type accountStates struct{ guests, notSuspended bool }

// check refuses a requester whose account is in a state that the route isn't for.
func (s accountStates) check(u *Requester, auth Auth) error {
	switch {
	case u.Locked && auth != AuthEvenLocked:
		return UserLocked()
	case u.Guest && !s.guests:
		return GuestForbidden("Guests may not do this: make an account first")
	case u.Suspended && s.notSuspended:
		return UserSuspended()
	}
	return nil
}

var (
	variable      = regexp.MustCompile(`\{[^}]*\}`)
	clientVersion = regexp.MustCompile(`^/_matrix/client/(v\d+|r0|unstable|api/v1)/`)
)

// statesOf looks an operation of the client-server API up in the lists below.
func statesOf(method, template string) accountStates {
	path := clientVersion.ReplaceAllString(template, "/")
	if path == template { // another API's
		return accountStates{}
	}
	operation := method + " " + variable.ReplaceAllString(strings.TrimSuffix(path, "/"), "{}")
	return accountStates{guests: guestOperations[operation], notSuspended: suspendedOperations[operation]}
}

func operations(list string) map[string]bool {
	set := map[string]bool{}
	for line := range strings.Lines(list) {
		if line = strings.TrimSpace(line); line != "" {
			set[line] = true
		}
	}
	return set
}

// guestOperations are what guests may do: the specification's list, joining a room by
// its alias, finding rooms and what relates to an event, what calls need, what clients ask of
// everybody's server, and logging out. Of a profile it is the display name alone.
//
// https://spec.matrix.org/v1.19/client-server-api/#guest-access
var guestOperations = operations(`
	GET /rooms/{}/state
	GET /rooms/{}/context/{}
	GET /rooms/{}/event/{}
	GET /rooms/{}/state/{}
	GET /rooms/{}/state/{}/{}
	GET /rooms/{}/messages
	GET /rooms/{}/members
	GET /rooms/{}/initialSync
	GET /rooms/{}/relations/{}
	GET /rooms/{}/relations/{}/{}
	GET /rooms/{}/relations/{}/{}/{}
	GET /rooms/{}/threads
	GET /rooms/{}/timestamp_to_event
	GET /rooms/{}/hierarchy
	GET /room_summary/{}
	GET /im.nheko.summary/rooms/{}/summary
	GET /im.nheko.summary/summary/{}
	POST /publicRooms
	GET /capabilities
	GET /thirdparty/protocols
	GET /voip/turnServer
	GET /sync
	GET /events
	GET /media/download/{}/{}
	GET /media/download/{}/{}/{}
	GET /media/thumbnail/{}/{}
	POST /rooms/{}/join
	POST /join/{}
	POST /rooms/{}/leave
	PUT /rooms/{}/send/{}/{}
	PUT /rooms/{}/state/{}
	PUT /rooms/{}/state/{}/{}
	PUT /sendToDevice/{}/{}
	PUT /profile/{}/{}
	DELETE /profile/{}/{}
	GET /devices
	GET /devices/{}
	PUT /devices/{}
	GET /account/whoami
	POST /keys/upload
	POST /keys/query
	POST /keys/claim
	GET /keys/changes
	POST /logout
	POST /logout/all
	PUT /org.matrix.msc4140/rooms/{}/delayed_event/{}/{}
	GET /org.matrix.msc4140/delayed_events
	GET /org.matrix.msc4140/delayed_events/{}
	POST /org.matrix.msc4140/delayed_events/{}
	POST /org.matrix.msc4140/delayed_events/{}/send
	POST /org.matrix.msc4140/delayed_events/{}/cancel
	POST /org.matrix.msc4140/delayed_events/{}/restart
	GET /org.matrix.msc4143/rtc/transports
`)

// suspendedOperations are what a suspended user may not do. Sending is told apart by
// its handlers: one's own events may be redacted.
//
// https://spec.matrix.org/v1.19/client-server-api/#account-suspension
var suspendedOperations = operations(`
	POST /createRoom
	POST /rooms/{}/join
	POST /join/{}
	POST /knock/{}
	POST /rooms/{}/invite
	POST /rooms/{}/kick
	POST /rooms/{}/ban
	POST /rooms/{}/unban
	POST /rooms/{}/upgrade
	PUT /rooms/{}/state/{}
	PUT /rooms/{}/state/{}/{}
	PUT /org.matrix.msc4140/rooms/{}/delayed_event/{}/{}
	PUT /profile/{}/{}
	DELETE /profile/{}/{}
	PUT /directory/room/{}
	DELETE /directory/room/{}
	PUT /directory/list/room/{}
	POST /account/3pid/delete
	POST /account/3pid/unbind
`)
