package clientapi

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/tidwall/gjson"

	"hearth/identity"
	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
)

// threepidInvite is the invitation of who owns an address.
//
// https://spec.matrix.org/v1.19/client-server-api/#third-party-invites
type threepidInvite struct {
	threepid
	IDServer      string `json:"id_server"`
	IDAccessToken string `json:"id_access_token"`
}

// checkThreepidInvite refuses what is incomplete, and identity servers that aren't trusted.
func (a *API) checkThreepidInvite(i *threepidInvite) error {
	if err := i.check(); err != nil {
		return err
	}
	if i.IDAccessToken == "" {
		return httpapi.MissingParam("id_access_token is missing")
	}
	return a.o.Identity.Allowed(i.IDServer)
}

// inviteAddress is an invitation of whoever owns an address.
//
// https://spec.matrix.org/v1.19/client-server-api/#thirdparty_post_matrixclientv3roomsroomidinvite
func (a *API) inviteAddress(r *http.Request, u *httpapi.Requester, body *membershipBody) error {
	if err := a.checkThreepidInvite(&body.threepidInvite); err != nil {
		return err
	}
	if _, err := a.membershipOf(r, u.UserID, ""); err != nil {
		return err
	}
	return a.inviteThreepid(r.Context(), roomserver.MembershipRequest{
		RoomID: httpapi.Var(r, "roomId"), Sender: u.UserID, Membership: "invite", Reason: body.Reason}, &body.threepidInvite)
}

// inviteThreepid invites the owner of an address to m's room: the user who has published
// it or, if nobody has, whoever will.
func (a *API) inviteThreepid(ctx context.Context, m roomserver.MembershipRequest, i *threepidInvite) error {
	address := identity.Address{Medium: i.Medium, Address: i.Address}
	userID, err := a.o.Identity.Lookup(ctx, i.IDServer, i.IDAccessToken, address)
	if err != nil {
		return err
	}
	if m.Target = userID; userID != "" {
		return a.invite(ctx, m)
	}
	q, err := a.invitationToAddress(ctx, m)
	if err != nil {
		return err
	}
	q.Address = address
	stored, err := a.o.Identity.Store(ctx, i.IDServer, i.IDAccessToken, *q)
	if err != nil {
		return err
	}
	content, err := json.Marshal(stored.Content())
	if err != nil {
		return err
	}
	_, err = a.rooms.Send(ctx, roomserver.EventRequest{
		RoomID: m.RoomID, Sender: m.Sender, Type: "m.room.third_party_invite", StateKey: &stored.Token, Content: content})
	return err
}

// invitationToAddress is what the owner of an address is told of m's room and sender, who
// must have the power to invite: once the mail is sent it is too late to refuse.
func (a *API) invitationToAddress(ctx context.Context, m roomserver.MembershipRequest) (*identity.Invitation, error) {
	v, err := a.rooms.View(ctx, m.RoomID)
	if err != nil {
		return nil, err
	}
	levels, err := a.rooms.PowerLevels(ctx, v)
	if err != nil {
		return nil, err
	}
	if levels.Of(m.Sender) < levels.Action("invite") {
		return nil, httpapi.Forbidden("Inviting needs power level %d", levels.Action("invite"))
	}
	q := &identity.Invitation{RoomID: m.RoomID, Sender: m.Sender}
	for _, part := range []struct {
		event, stateKey, member string
		to                      *string
	}{
		{"m.room.canonical_alias", "", "alias", &q.RoomAlias},
		{"m.room.avatar", "", "url", &q.RoomAvatar},
		{"m.room.join_rules", "", "join_rule", &q.RoomJoinRules},
		{"m.room.name", "", "name", &q.RoomName},
		{"m.room.create", "", "type", &q.RoomType},
		{"m.room.member", m.Sender, "displayname", &q.SenderDisplayName},
		{"m.room.member", m.Sender, "avatar_url", &q.SenderAvatar},
	} {
		e, err := a.rooms.StateEvent(ctx, v, part.event, part.stateKey)
		if err != nil {
			return nil, err
		}
		if e != nil {
			*part.to = gjson.GetBytes(e.JSON, "content."+part.member).Str
		}
	}
	return q, nil
}

// redeem has an invitation to an address become the user's own, who shows what the
// identity server has signed: the third_party_signed of a join.
func (a *API) redeem(ctx context.Context, roomID, userID string, signed json.RawMessage) error {
	r := identity.Redemption{RoomID: roomID, Sender: gjson.GetBytes(signed, "sender").Str, Target: userID, Signed: signed}
	if _, _, ok := splitID(r.Sender, '@'); !ok {
		return httpapi.InvalidParam("third_party_signed names no sender")
	}
	if userid.Domain(r.Sender) != a.serverName {
		if a.o.Federation == nil {
			return httpapi.Forbidden("This server doesn't federate")
		}
		return a.o.Federation.Redeem(ctx, r)
	}
	m, err := a.o.Identity.Redeem(ctx, a.rooms, r)
	if err != nil {
		return err
	}
	return a.invite(ctx, m)
}
