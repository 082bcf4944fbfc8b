package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

// getMakeKnock is GET /make_knock/{roomId}/{userId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1make_knockroomiduserid
func (a *API) getMakeKnock(r *http.Request, origin string, _ json.RawMessage) (any, error) {
	return a.templateIn(r, origin, "knock")
}

// putSendKnock is PUT /send_knock/{roomId}/{eventId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1send_knockroomideventid
func (a *API) putSendKnock(r *http.Request, origin string, body json.RawMessage) (any, error) {
	v, err := a.wholeRoom(r.Context(), origin, httpapi.Var(r, "roomId"))
	if err != nil {
		return nil, err
	}
	pdu, err := a.sentMembership(r, origin, v, body, "knock")
	if err != nil {
		return nil, err
	}
	if err := a.takeMembership(r.Context(), pdu); err != nil {
		return nil, err
	}
	state, err := a.rooms.UnstrippedState(r.Context(), v.Room.ID, "")
	return map[string]any{"knock_room_state": state}, err
}

// Knock has a user of this server ask to be let into a room that others are in, by way of
// the first of the servers that takes it. Errors are as of client.AsClientError.
func (a *API) Knock(ctx context.Context, roomID, userID string, via []string, content map[string]any) error {
	return a.tryAll(ctx, via, func(server string) error { return a.knockVia(ctx, server, roomID, userID, content) })
}

func (a *API) knockVia(ctx context.Context, server, roomID, userID string, content map[string]any) error {
	_, pdu, err := a.askToEnter(ctx, server, "make_knock", roomID, userID, content)
	if err != nil {
		return err
	}
	var answer struct {
		Stripped []json.RawMessage `json:"knock_room_state"`
	}
	ctx, cancel := finishing(ctx)
	defer cancel()
	err = a.client.Put(ctx, server, client.Path("/_matrix/federation/v1/send_knock", roomID, pdu.EventID()), json.RawMessage(pdu.JSON()), &answer)
	if err != nil {
		return err
	}
	stripped, err := json.Marshal(strippedStates(answer.Stripped[:min(len(answer.Stripped), maxInviteState)]))
	if err != nil {
		return badAnswer(server, "The room's state isn't valid: %v", err)
	}
	if err = a.rooms.Note(ctx, pdu, stripped); errors.Is(err, roomserver.ErrInRoom) {
		return refusal(a.takeWithAncestors(ctx, server, pdu))
	}
	return err
}

// takeNoted takes in the end of an invitation or of a knock of a user of this server, of a
// room that is known by nothing else: that the invitation is taken back, or the user
// isn't let in. Nothing is known that could authorise it; the user who invited them must have
// sent it or, of a knock, any user of the server that tells.
func (a *API) takeNoted(ctx context.Context, origin string, text json.RawMessage) error {
	target, sender := gjson.GetBytes(text, "state_key").Str, gjson.GetBytes(text, "sender").Str
	membership := gjson.GetBytes(text, "content.membership").Str
	if gjson.GetBytes(text, "type").Str != "m.room.member" || !userid.IsLocal(target, a.serverName) ||
		membership != "leave" && membership != "ban" || userid.Domain(sender) != origin {
		return httpapi.Forbidden("This server isn't in the room")
	}
	roomID := gjson.GetBytes(text, "room_id").Str
	remote, err := a.rooms.Remote(ctx, roomID)
	if err != nil {
		return err
	}
	v, err := a.rooms.View(ctx, roomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) || err == nil && !remote {
		return httpapi.Forbidden("This server isn't in the room")
	}
	if err != nil {
		return err
	}
	noted, err := a.rooms.StateEvent(ctx, v, "m.room.member", target)
	if err != nil {
		return err
	}
	if noted == nil || v.Membership(target) != "knock" && (v.Membership(target) != "invite" || noted.Sender != sender) {
		return httpapi.Forbidden("Nothing is known that this could end")
	}
	return a.note(ctx, origin, v, noted, text)
}

// note takes in what ends a membership that is noted. If it is from before that it ended an earlier
// one, and comes late. In a room whose depth has reached its bound all have the same.
func (a *API) note(ctx context.Context, origin string, v *roomserver.View, noted *storage.Event, text json.RawMessage) error {
	pdu, err := parseEvent(gomatrixserverlib.RoomVersion(v.Room.RoomVersion), text)
	if err != nil {
		return err
	}
	if pdu.Depth() < noted.Depth {
		return httpapi.Forbidden("What this could end is newer")
	}
	if err := a.verifyEvent(ctx, pdu); err != nil {
		return err
	}
	if err = a.rooms.Note(ctx, pdu, nil); errors.Is(err, roomserver.ErrInRoom) {
		return a.takeWithAncestors(ctx, origin, pdu)
	}
	return err
}
