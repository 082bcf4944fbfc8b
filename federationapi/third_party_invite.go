package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/tidwall/gjson"

	"hearth/federationapi/client"
	"hearth/identity"
	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

func (a *API) thirdPartyRoutes() []httpapi.Route {
	return []httpapi.Route{
		// An identity server is none of those whose signatures are known. Each request may make
		// this server ask many others, so there may be few.
		{Method: "PUT", Path: "/3pid/onbind", Auth: httpapi.AuthNone, Rate: httpapi.RateLogin, Handle: a.putOnBind},
		a.signed("PUT", "/exchange_third_party_invite/{roomId}", a.putExchange),
	}
}

const (
	// maxBoundInvites bounds the invitations of which one request tells.
	maxBoundInvites = 50
	// maxBoundTime bounds the work on them, atOnce how many are worked on at a time.
	maxBoundTime, atOnce = time.Minute, 4
)

// putOnBind is PUT /3pid/onbind: somebody who was invited by an address has published
// it as theirs. It may come from anybody, and does nothing that isn't signed by the key that
// the room has for the invitation.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv13pidonbind
func (a *API) putOnBind(r *http.Request, _ *httpapi.Requester) (any, error) {
	var body struct {
		MXID    string `json:"mxid"`
		Invites []struct {
			RoomID string          `json:"room_id"`
			Sender string          `json:"sender"`
			Signed json.RawMessage `json:"signed"`
		} `json:"invites"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if len(body.Invites) > maxBoundInvites {
		return nil, httpapi.InvalidParam("More than %d invitations", maxBoundInvites)
	}
	if !userid.IsLocal(body.MXID, a.serverName) {
		return nil, httpapi.InvalidParam("The user isn't of this server")
	}
	u, err := a.db.GetUser(r.Context(), body.MXID)
	if errors.Is(err, storage.ErrNotFound) || err == nil && u.Deactivated {
		return nil, httpapi.NotFound("There is no such user")
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), maxBoundTime)
	defer cancel()
	parallel(atOnce, len(body.Invites), func(i int) {
		invite := body.Invites[i]
		err := a.Redeem(ctx, identity.Redemption{RoomID: invite.RoomID, Sender: invite.Sender, Target: body.MXID, Signed: invite.Signed})
		if err != nil {
			a.log.Info("an invitation to an address wasn't redeemed", "room", invite.RoomID, "user", body.MXID, "err", err)
		}
	})
	return nil, nil
}

// Redeem has an invitation to an address become that of a user of this server, by way of
// the server whose user made it.
func (a *API) Redeem(ctx context.Context, r identity.Redemption) error {
	inviter := userid.Domain(r.Sender)
	if inviter == a.serverName {
		return a.redeemHere(ctx, r)
	}
	if gjson.GetBytes(r.Signed, "mxid").Str != r.Target {
		return httpapi.Forbidden("The invitation is signed for another user")
	}
	content := map[string]any{"membership": "invite", "third_party_invite": map[string]any{
		"display_name": r.Target, "signed": json.RawMessage(r.Signed)}}
	var nothing any
	err := a.client.Put(ctx, inviter, client.Path("/_matrix/federation/v1/exchange_third_party_invite", r.RoomID), map[string]any{
		"type": "m.room.member", "room_id": r.RoomID, "sender": r.Sender, "state_key": r.Target, "content": content}, &nothing)
	return client.AsClientError(err)
}

// redeemHere is Redeem for an invitation that a user of this server made.
func (a *API) redeemHere(ctx context.Context, r identity.Redemption) error {
	m, err := a.o.Identity.Redeem(ctx, a.rooms, r)
	if err != nil {
		return err
	}
	if userid.IsLocal(r.Target, a.serverName) {
		_, err = a.rooms.SetMembership(ctx, m)
		return err
	}
	return a.Invite(ctx, m)
}

// putExchange is PUT /exchange_third_party_invite/{roomId}: a server shows that an
// invitation that a user of this one made to an address is meant for its user.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1exchange_third_party_inviteroomid
func (a *API) putExchange(r *http.Request, origin string, body json.RawMessage) (any, error) {
	var event struct {
		Type     string `json:"type"`
		RoomID   string `json:"room_id"`
		Sender   string `json:"sender"`
		StateKey string `json:"state_key"`
		Content  struct {
			Membership string `json:"membership"`
			Invite     struct {
				Signed json.RawMessage `json:"signed"`
			} `json:"third_party_invite"`
		} `json:"content"`
	}
	if err := decode(body, &event); err != nil {
		return nil, err
	}
	v, err := a.residentRoom(r.Context(), origin, httpapi.Var(r, "roomId"))
	if err != nil {
		return nil, err
	}
	switch {
	case event.Type != "m.room.member" || event.Content.Membership != "invite" || event.RoomID != v.Room.ID:
		return nil, httpapi.InvalidParam("The event is no invitation to this room")
	case !userid.IsLocal(event.StateKey, origin):
		return nil, httpapi.Forbidden("%s may only ask for its own users", origin)
	case !userid.IsLocal(event.Sender, a.serverName):
		return nil, httpapi.InvalidParam("The invitation wasn't made by a user of this server")
	}
	return nil, a.redeemHere(r.Context(), identity.Redemption{
		RoomID: v.Room.ID, Sender: event.Sender, Target: event.StateKey, Signed: event.Content.Invite.Signed})
}
