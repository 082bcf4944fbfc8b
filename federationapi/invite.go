package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

func (a *API) inviteRoutes(version int) []httpapi.Route {
	handle := a.putInvite
	if version == 1 {
		handle = inList(a.putInviteV1)
	}
	return []httpapi.Route{a.signed("PUT", "/invite/{roomId}/{eventId}", handle)}
}

// maxInviteState bounds the stripped state events of an invitation.
const maxInviteState = 50

// invitation is the body of PUT /invite.
type invitation struct {
	Event    json.RawMessage               `json:"event"`
	Version  gomatrixserverlib.RoomVersion `json:"room_version"`
	Stripped []json.RawMessage             `json:"invite_room_state"`
}

// putInvite is PUT /_matrix/federation/v2/invite/{roomId}/{eventId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2inviteroomideventid
func (a *API) putInvite(r *http.Request, origin string, body json.RawMessage) (any, error) {
	var i invitation
	if err := decode(body, &i); err != nil {
		return nil, err
	}
	return a.invited(r, origin, &i)
}

// putInviteV1 is PUT /_matrix/federation/v1/invite/{roomId}/{eventId}, whose body is
// the event, of a room of version 1 or 2.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1inviteroomideventid
func (a *API) putInviteV1(r *http.Request, origin string, body json.RawMessage) (any, error) {
	i := invitation{Event: body, Version: gomatrixserverlib.RoomVersionV1}
	for _, e := range gjson.GetBytes(body, "unsigned.invite_room_state").Array() {
		i.Stripped = append(i.Stripped, json.RawMessage(e.Raw))
	}
	return a.invited(r, origin, &i)
}

func (a *API) invited(r *http.Request, origin string, i *invitation) (any, error) {
	ctx := r.Context()
	pdu, err := a.checkInvitation(r, origin, i)
	if err != nil {
		return nil, err
	}
	u, err := a.db.GetUser(ctx, *pdu.StateKey())
	if errors.Is(err, storage.ErrNotFound) || err == nil && u.Deactivated {
		return nil, httpapi.Forbidden("There is no such user to invite")
	}
	if err != nil {
		return nil, err
	}
	if err := a.rooms.TakesInvite(ctx, *pdu.StateKey(), string(pdu.SenderID())); err != nil {
		return nil, err
	}
	pdu = a.rooms.CoSign(pdu)
	remote, err := a.rooms.Remote(ctx, pdu.RoomID().String())
	if err != nil {
		return nil, err
	}
	if remote {
		stripped, err := json.Marshal(strippedStates(i.Stripped))
		if err != nil {
			return nil, httpapi.BadJSON("The invitation's state isn't valid: %v", err)
		}
		// Where somebody is by now it comes with a transaction, like all that happens there.
		if err := a.rooms.Note(ctx, pdu, stripped); err != nil && !errors.Is(err, roomserver.ErrInRoom) {
			return nil, err
		}
	}
	return httpapi.Raw(append(append([]byte(`{"event":`), pdu.JSON()...), '}')), nil
}

func (a *API) checkInvitation(r *http.Request, origin string, i *invitation) (gomatrixserverlib.PDU, error) {
	if len(i.Event) == 0 || len(i.Stripped) > maxInviteState {
		return nil, httpapi.InvalidParam("An invitation has an event and at most %d events of the room's state", maxInviteState)
	}
	pdu, err := membershipIn(r, i.Version, i.Event, "invite")
	if err != nil {
		return nil, err
	}
	if !userid.IsLocal(*pdu.StateKey(), a.serverName) {
		return nil, httpapi.InvalidParam("The invited user isn't of this server")
	}
	if userid.Domain(string(pdu.SenderID())) != origin {
		return nil, httpapi.InvalidParam("%s may only send its own users' invitations", origin)
	}
	v, err := a.rooms.View(r.Context(), pdu.RoomID().String())
	if err == nil {
		var allowed bool
		if allowed, err = a.rooms.ServerAllowed(r.Context(), v, origin); err == nil && !allowed {
			err = httpapi.Forbidden("The room's access control list bars %s", origin)
		}
	}
	if err != nil && !errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, err
	}
	if err := a.checkInviteState(r.Context(), i.Version, pdu.RoomID().String(), i.Stripped); err != nil {
		return nil, err
	}
	return pdu, a.verifyOffered(r.Context(), pdu)
}

// checkInviteState makes sure that the events that come with an invitation are of its room.
// Servers that don't do yet what is specified send what clients are shown of them, which says
// nothing of it. Where the room's id is made of the event that made the room, that event must be there,
// and of the others what is told wrongly counts too.
func (a *API) checkInviteState(ctx context.Context, v gomatrixserverlib.RoomVersion, roomID string, events []json.RawMessage) error {
	impl, err := gomatrixserverlib.GetRoomVersion(v)
	if err != nil {
		return fmt.Errorf("checking an invitation's state: %w", err)
	}
	made := false
	for _, text := range events {
		e := gjson.ParseBytes(text)
		made = made || e.Get("type").Str == "m.room.create" && e.Get("state_key").Exists()
		if !e.Get("auth_events").Exists() {
			continue
		}
		pdu, err := parseEvent(v, text)
		if err != nil || pdu.RoomID().String() != roomID {
			return httpapi.InvalidParam("invite_room_state has something that is no event of the room")
		}
		create := pdu.Type() == "m.room.create"
		if !create && !impl.DomainlessRoomIDs() {
			continue
		}
		// Who wrote the others may be away.
		if err := a.verifyEvent(ctx, pdu); err != nil && (create || !errors.Is(err, client.ErrNoKey)) {
			return httpapi.InvalidParam("The %s event of invite_room_state isn't authentic", pdu.Type())
		}
	}
	if !made && impl.DomainlessRoomIDs() {
		return httpapi.InvalidParam("invite_room_state lacks the room's m.room.create event")
	}
	return nil
}

// strippedStates keeps of state events what stripped state consists of.
func strippedStates(events []json.RawMessage) []map[string]json.RawMessage {
	list := []map[string]json.RawMessage{}
	for _, text := range events {
		var e map[string]json.RawMessage
		if json.Unmarshal(text, &e) != nil || e["type"] == nil || e["state_key"] == nil || e["content"] == nil || e["sender"] == nil {
			continue
		}
		list = append(list, map[string]json.RawMessage{"type": e["type"], "state_key": e["state_key"], "content": e["content"], "sender": e["sender"]})
	}
	return list
}

// maxInviteWait is how long somebody who comes by an invitation waits for it to be in
// the room.
const maxInviteWait = 5 * time.Second

// membershipOf names somebody's membership of a room.
type membershipOf struct{ roomID, userID string }

// awaitInvite waits for an invitation that is on its way.
func (a *API) awaitInvite(ctx context.Context, of membershipOf) {
	ctx, cancel := context.WithTimeout(ctx, maxInviteWait)
	defer cancel()
	a.inviting.watch(of)(ctx)
}

// Invite invites a user of another server: theirs has to agree.
func (a *API) Invite(ctx context.Context, r roomserver.MembershipRequest) error {
	version, proto, err := a.rooms.MembershipTemplate(ctx, r)
	if err != nil {
		return err
	}
	pdu, err := a.rooms.SignTemplate(version, proto)
	if err != nil {
		return err
	}
	if pdu, err = a.rooms.Recommended(ctx, pdu); err != nil {
		return err
	}
	stripped, err := a.rooms.UnstrippedState(ctx, r.RoomID, r.Sender)
	if err != nil {
		return err
	}
	ctx, cancel := finishing(ctx)
	defer cancel()
	defer a.inviting.begin(membershipOf{r.RoomID, r.Target})()
	server := userid.Domain(r.Target)
	answered, err := a.sendInvite(ctx, server, &invitation{Event: pdu.JSON(), Version: version, Stripped: stripped}, client.Path("", r.RoomID, pdu.EventID()))
	if err != nil {
		return asEntryError(err)
	}
	signed, err := parseEvent(version, answered)
	if err != nil || signed.EventID() != pdu.EventID() || a.verifyAgreed(ctx, signed) != nil {
		return client.AsClientError(badAnswer(server, "It didn't sign the invitation"))
	}
	return refusal(a.rooms.ReceiveToPassOn(ctx, signed))
}

// sendInvite asks a server to sign an invitation of its user, and returns that. A server that may
// be old is asked in the old way too.
func (a *API) sendInvite(ctx context.Context, server string, i *invitation, path string) (json.RawMessage, error) {
	var answer struct {
		Event json.RawMessage `json:"event"`
	}
	err := a.client.Put(ctx, server, "/_matrix/federation/v2/invite"+path, i, &answer)
	var refused *client.RemoteError
	old := errors.As(err, &refused) && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusNotFound)
	if !old || i.Version != gomatrixserverlib.RoomVersionV1 && i.Version != gomatrixserverlib.RoomVersionV2 {
		return answer.Event, err
	}
	event, err := sjson.SetBytes(i.Event, "unsigned.invite_room_state", i.Stripped)
	if err != nil {
		return nil, fmt.Errorf("writing an invitation: %w", err)
	}
	err = a.client.Put(ctx, server, "/_matrix/federation/v1/invite"+path, json.RawMessage(event), &[]any{nil, &answer})
	return answer.Event, err
}

// Leave ends the membership of a user of this server in a room that only others are
// in: an invitation is declined. If no server can be told, it ends here all the same.
func (a *API) Leave(ctx context.Context, roomID, userID string, content map[string]any) error {
	v, err := a.rooms.View(ctx, roomID)
	if err != nil {
		return err
	}
	e, err := a.rooms.StateEvent(ctx, v, "m.room.member", userID)
	if err != nil {
		return err
	}
	if e == nil {
		return httpapi.Forbidden("You aren't in this room")
	}
	ctx, cancel := finishing(ctx)
	defer cancel()
	var pdu gomatrixserverlib.PDU
	err = a.tryAll(ctx, a.knowers(ctx, v, e), func(server string) (err error) {
		pdu, err = a.leaveVia(ctx, server, v, userID, content)
		return err
	})
	if err != nil {
		if pdu, err = a.leaveAlone(v, e, userID, content); err != nil {
			return err
		}
	}
	if err = a.rooms.Note(ctx, pdu, nil); errors.Is(err, roomserver.ErrInRoom) {
		return httpapi.Unavailable(time.Second, "Another user of this server has just come into the room; try again")
	}
	return err
}

// knowers are servers that know of a membership that was noted here: of who invited, and
// of those who made the state that came with it.
func (a *API) knowers(ctx context.Context, v *roomserver.View, noted *storage.Event) []string {
	servers := []string{userid.Domain(noted.Sender)}
	stripped, err := a.db.GetInviteState(ctx, v.Room.NID, *noted.StateKey)
	if err != nil {
		return servers
	}
	for _, e := range gjson.ParseBytes(stripped).Array() {
		servers = append(servers, userid.Domain(e.Get("sender").Str))
	}
	return servers
}

func (a *API) leaveVia(ctx context.Context, server string, v *roomserver.View, userID string, content map[string]any) (gomatrixserverlib.PDU, error) {
	made, err := a.askTemplate(ctx, server, client.Path("/_matrix/federation/v1/make_leave", v.Room.ID, userID), v.Room.ID, userID, content)
	if err != nil {
		return nil, err
	}
	pdu, err := a.rooms.SignTemplate(gomatrixserverlib.RoomVersion(v.Room.RoomVersion), &made.Event)
	if err != nil {
		return nil, err
	}
	var nothing any
	return pdu, a.client.Put(ctx, server, client.Path("/_matrix/federation/v2/send_leave", v.Room.ID, pdu.EventID()), json.RawMessage(pdu.JSON()), &nothing)
}

// leaveAlone makes an event that ends a membership for this server's users only.
func (a *API) leaveAlone(v *roomserver.View, invite *storage.Event, userID string, content map[string]any) (gomatrixserverlib.PDU, error) {
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	return a.rooms.SignTemplate(gomatrixserverlib.RoomVersion(v.Room.RoomVersion), &gomatrixserverlib.ProtoEvent{
		SenderID: userID, RoomID: v.Room.ID, Type: "m.room.member", StateKey: &userID, Content: raw,
		PrevEvents: v.Room.ForwardExtremities, AuthEvents: []string{invite.ID}, Depth: v.Room.Depth + 1})
}
