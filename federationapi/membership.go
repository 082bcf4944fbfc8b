package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

// membershipRoutes are those of one version of the API: in the first, what is
// answered to an event stands in a list, after its status.
func (a *API) membershipRoutes(version int) []httpapi.Route {
	join, leave := a.putSendJoin, a.putSendLeave
	if version == 1 {
		join, leave = inList(join), inList(leave)
	}
	routes := []httpapi.Route{
		a.signed("PUT", "/send_join/{roomId}/{eventId}", a.inTurn(join)),
		a.signed("PUT", "/send_leave/{roomId}/{eventId}", leave),
	}
	if version == 1 {
		routes = append(routes, a.signed("GET", "/make_join/{roomId}/{userId}", a.getMakeJoin),
			a.signed("GET", "/make_leave/{roomId}/{userId}", a.getMakeLeave),
			a.signed("GET", "/make_knock/{roomId}/{userId}", a.getMakeKnock), a.signed("PUT", "/send_knock/{roomId}/{eventId}", a.putSendKnock))
	}
	return routes
}

type signedHandler = func(r *http.Request, origin string, body json.RawMessage) (any, error)

func inList(handle signedHandler) signedHandler {
	return func(r *http.Request, origin string, body json.RawMessage) (any, error) {
		answer, err := handle(r, origin, body)
		raw, ok := answer.(httpapi.Raw)
		if !ok {
			raw = httpapi.Raw("{}")
		}
		return httpapi.Raw(append(append([]byte("[200,"), raw...), ']')), err
	}
}

// residentRoom returns a room that this server takes part in and from which the
// asking server isn't barred.
func (a *API) residentRoom(ctx context.Context, origin, roomID string) (*roomserver.View, error) {
	v, err := a.rooms.View(ctx, roomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) || err == nil && a.rooms.JoinedServers(v)[a.serverName] == 0 {
		return nil, httpapi.NotFound("This server isn't in the room")
	}
	if err != nil {
		return nil, err
	}
	allowed, err := a.rooms.ServerAllowed(ctx, v, origin)
	if err == nil && !allowed {
		err = httpapi.Forbidden("The room's access control list bars %s", origin)
	}
	return v, err
}

// waitForMembers bounds how long a server waits for this one to know who is in a room, before
// it had better ask another.
const waitForMembers = 3 * time.Second

// wholeRoom is residentRoom, for what takes knowing who is in the room.
func (a *API) wholeRoom(ctx context.Context, origin, roomID string) (*roomserver.View, error) {
	v, err := a.residentRoom(ctx, origin, roomID)
	if err != nil || !v.Room.IsPartial() {
		return v, err
	}
	waiting, cancel := context.WithTimeout(ctx, waitForMembers)
	defer cancel()
	if a.rooms.WaitForMembers(waiting, roomID) != nil {
		return nil, httpapi.NotFound("This server doesn't know yet who is in the room")
	}
	return a.residentRoom(ctx, origin, roomID)
}

// getMakeJoin is GET /make_join/{roomId}/{userId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_joinroomiduserid
func (a *API) getMakeJoin(r *http.Request, origin string, _ json.RawMessage) (any, error) {
	return a.templateIn(r, origin, "join")
}

// templateIn is a template for who comes to a room, if their server knows its version.
func (a *API) templateIn(r *http.Request, origin, membership string) (any, error) {
	v, err := a.wholeRoom(r.Context(), origin, httpapi.Var(r, "roomId"))
	if err != nil {
		return nil, err
	}
	versions := r.URL.Query()["ver"]
	if len(versions) == 0 {
		versions = []string{"1"}
	}
	if !slices.Contains(versions, v.Room.RoomVersion) {
		e := httpapi.New(http.StatusBadRequest, "M_INCOMPATIBLE_ROOM_VERSION", "The room has version %s", v.Room.RoomVersion)
		e.Extra = map[string]any{"room_version": v.Room.RoomVersion}
		return nil, e
	}
	return a.template(r, origin, membership)
}

// getMakeLeave is GET /make_leave/{roomId}/{userId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_leaveroomiduserid
func (a *API) getMakeLeave(r *http.Request, origin string, _ json.RawMessage) (any, error) {
	if _, err := a.residentRoom(r.Context(), origin, httpapi.Var(r, "roomId")); err != nil {
		return nil, err
	}
	return a.template(r, origin, "leave")
}

func (a *API) template(r *http.Request, origin, membership string) (any, error) {
	userID := httpapi.Var(r, "userId")
	if !userid.IsLocal(userID, origin) {
		return nil, httpapi.Forbidden("%s may only ask for its own users", origin)
	}
	a.awaitInvite(r.Context(), membershipOf{httpapi.Var(r, "roomId"), userID})
	version, proto, err := a.rooms.MembershipTemplate(r.Context(), roomserver.MembershipRequest{
		RoomID: httpapi.Var(r, "roomId"), Sender: userID, Target: userID, Membership: membership})
	if err != nil {
		return nil, err
	}
	if impl, err := gomatrixserverlib.GetRoomVersion(version); err == nil && impl.EventFormat() == gomatrixserverlib.EventFormatV1 {
		proto.PrevEvents, proto.AuthEvents = withHashes(proto.PrevEvents), withHashes(proto.AuthEvents)
	}
	return map[string]any{"room_version": version, "event": proto}, nil
}

// withHashes are ids as events name one another in the first two room versions. The hashes
// are those of nothing: nobody looks at them.
func withHashes(ids any) [][2]any {
	list := [][2]any{}
	names, _ := ids.([]string)
	for _, id := range names {
		list = append(list, [2]any{id, map[string]string{"sha256": ""}})
	}
	return list
}

// putSendLeave is PUT /send_leave/{roomId}/{eventId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_leaveroomideventid
func (a *API) putSendLeave(r *http.Request, origin string, body json.RawMessage) (any, error) {
	v, err := a.residentRoom(r.Context(), origin, httpapi.Var(r, "roomId"))
	if err != nil {
		return nil, err
	}
	pdu, err := a.sentMembership(r, origin, v, body, "leave")
	if err != nil {
		return nil, err
	}
	return nil, a.takeMembership(r.Context(), pdu)
}

// takeMembership takes in a membership event that was sent by itself, to be passed on to
// the other servers in the room, which nobody else does. What the rules refuse is refused
// to the sender.
func (a *API) takeMembership(ctx context.Context, pdu gomatrixserverlib.PDU) error {
	return refusal(a.rooms.ReceiveToPassOn(ctx, pdu))
}

// refusal is what a server is answered whose event couldn't be taken in.
func refusal(err error) error {
	var missing *roomserver.MissingEventsError
	if errors.As(err, &missing) {
		return httpapi.New(http.StatusBadRequest, "M_INVALID_PARAM", "The event refers to events that this server doesn't know")
	}
	var refused *roomserver.RefusedError
	if errors.As(err, &refused) {
		return httpapi.Forbidden("The room doesn't allow it: %s", refused.Err)
	}
	return err
}

// sentMembership parses and checks the membership event that a server sent of its
// own user.
func (a *API) sentMembership(r *http.Request, origin string, v *roomserver.View, body json.RawMessage, membership string) (gomatrixserverlib.PDU, error) {
	if body == nil {
		return nil, httpapi.NotJSON("The body is missing")
	}
	pdu, err := membershipIn(r, gomatrixserverlib.RoomVersion(v.Room.RoomVersion), body, membership)
	if err != nil {
		return nil, err
	}
	if !pdu.StateKeyEquals(string(pdu.SenderID())) {
		return nil, httpapi.InvalidParam("The event isn't of the sender's own membership")
	}
	if userid.Domain(string(pdu.SenderID())) != origin {
		return nil, httpapi.InvalidParam("%s may only send its own users' events", origin)
	}
	signed := pdu
	if membership == "join" && gjson.GetBytes(pdu.Content(), roomserver.AuthorisedVia).Exists() {
		signed = a.rooms.CoSign(pdu) // the check wants the signature that is added later
	}
	return pdu, a.verifyEvent(r.Context(), signed)
}

// membershipIn parses a membership event and makes sure that it is what the path
// says.
func membershipIn(r *http.Request, v gomatrixserverlib.RoomVersion, text json.RawMessage, membership string) (gomatrixserverlib.PDU, error) {
	pdu, err := parseEvent(v, text)
	if err != nil {
		return nil, err
	}
	given, err := pdu.Membership()
	switch {
	case pdu.EventID() != httpapi.Var(r, "eventId"):
		return nil, httpapi.InvalidParam("The event's id is %s, not that of the path", pdu.EventID())
	case pdu.RoomID().String() != httpapi.Var(r, "roomId"):
		return nil, httpapi.InvalidParam("The event is of another room")
	case pdu.Type() != "m.room.member" || pdu.StateKey() == nil || err != nil || given != membership:
		return nil, httpapi.InvalidParam("The event isn't a membership that is %s", membership)
	}
	return pdu, nil
}

func quoted(s string) []byte {
	text, _ := json.Marshal(s) // a string always marshals
	return text
}

// stateOf is the state before an event, and what authorises it.
func (a *API) stateOf(ctx context.Context, v *roomserver.View, e *storage.Event) (state, chain []*storage.Event, err error) {
	at, err := a.db.StateAt(ctx, e.SnapshotNID)
	if err != nil {
		return nil, nil, err
	}
	nids := make([]int64, 0, at.Len())
	for it := at.Iterator(); !it.Done(); {
		_, entry, _ := it.Next()
		nids = append(nids, entry.EventNID)
	}
	if state, err = a.rooms.EventList(ctx, nids); err != nil || len(state) == 0 {
		return nil, nil, err
	}
	chain, err = a.rooms.AuthChainOf(ctx, v, state)
	return state, append(chain, authorities(state, chain)...), err
}
