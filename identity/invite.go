package identity

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/roomserver"
)

// Invitation is what the owner of an address is told that nobody has published.
type Invitation struct {
	Address
	RoomID            string `json:"room_id"`
	Sender            string `json:"sender"`
	RoomAlias         string `json:"room_alias,omitempty"`
	RoomAvatar        string `json:"room_avatar_url,omitempty"`
	RoomJoinRules     string `json:"room_join_rules,omitempty"`
	RoomName          string `json:"room_name,omitempty"`
	RoomType          string `json:"room_type,omitempty"`
	SenderDisplayName string `json:"sender_display_name,omitempty"`
	SenderAvatar      string `json:"sender_avatar_url,omitempty"`
}

// Stored is an invitation that a server keeps until somebody publishes the address.
type Stored struct {
	Token       string      `json:"token"`
	DisplayName string      `json:"display_name"`
	PublicKeys  []PublicKey `json:"public_keys"`
}

// PublicKey is one with which a server says who owns an address.
type PublicKey struct {
	PublicKey      string `json:"public_key"`
	KeyValidityURL string `json:"key_validity_url,omitempty"`
}

// maxKeys bounds the keys of an invitation.
const maxKeys = 10

var token = regexp.MustCompile(`^[0-9a-zA-Z.=_-]{1,255}$`)

// Store has the server keep an invitation and tell the address's owner.
//
// https://spec.matrix.org/v1.19/identity-service-api/#post_matrixidentityv2store-invite
func (c *Client) Store(ctx context.Context, server, accessToken string, i Invitation) (*Stored, error) {
	var s Stored
	err := c.do(ctx, call{method: "POST", server: server, path: prefix + "/store-invite", token: accessToken, body: i}, &s)
	if err != nil {
		return nil, err
	}
	if !token.MatchString(s.Token) || len(s.PublicKeys) == 0 || len(s.PublicKeys) > maxKeys {
		return nil, badAnswer(server, errors.New("it gives no token or no keys"))
	}
	return &s, nil
}

// Content is the content of the m.room.third_party_invite.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroomthird_party_invite
func (s *Stored) Content() map[string]any {
	first := s.PublicKeys[0]
	return map[string]any{"display_name": s.DisplayName, "public_key": first.PublicKey,
		"key_validity_url": first.KeyValidityURL, "public_keys": s.PublicKeys}
}

// Redemption is the claim that an invitation to an address is meant for a user.
type Redemption struct {
	RoomID, Sender, Target string
	// Signed is the identity server's word for it.
	Signed []byte
}

// Redeem makes sure of the claim, and returns the invitation of the user that takes the
// place of that to the address. The keys must still be good: no other server asks.
//
// https://spec.matrix.org/v1.19/client-server-api/#third-party-invites
func (c *Client) Redeem(ctx context.Context, rooms *roomserver.Server, r Redemption) (m roomserver.MembershipRequest, err error) {
	v, err := rooms.View(ctx, r.RoomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return m, httpapi.NotFound("This server isn't in the room")
	}
	if err != nil {
		return m, err
	}
	signed := gjson.ParseBytes(r.Signed)
	if signed.Get("mxid").Str != r.Target {
		return m, httpapi.Forbidden("The invitation is signed for another user")
	}
	pending, err := rooms.StateEvent(ctx, v, "m.room.third_party_invite", signed.Get("token").Str)
	if err != nil {
		return m, err
	}
	if pending == nil || pending.Sender != r.Sender {
		return m, httpapi.Forbidden("The room has no such invitation")
	}
	if v.Membership(r.Target) == "join" {
		return m, httpapi.Forbidden("%s is in the room already", r.Target)
	}
	content := gjson.GetBytes(pending.JSON, "content")
	if err := c.checkKeys(ctx, roomserver.ThirdPartyKeys(content, signed)); err != nil {
		return m, err
	}
	return roomserver.MembershipRequest{RoomID: r.RoomID, Sender: r.Sender, Target: r.Target, Membership: "invite",
		Content: map[string]any{"third_party_invite": map[string]any{
			"display_name": content.Get("display_name").Str, "signed": json.RawMessage(r.Signed)}}}, nil
}

// checkKeys makes sure that one of the keys by which an invitation is signed is good.
func (c *Client) checkKeys(ctx context.Context, keys []roomserver.ThirdPartyKey) error {
	err := error(httpapi.Forbidden("The invitation isn't signed by any of its keys"))
	for _, k := range keys {
		if k.ValidityURL == "" {
			return nil
		}
		if err = c.keyIsValid(ctx, k); err == nil {
			return nil
		}
	}
	return err
}

// keyIsValid asks where the invitation says that its key can be checked: somebody in the
// room has written that, so it must lead to a trusted server.
//
// https://spec.matrix.org/v1.19/identity-service-api/#get_matrixidentityv2pubkeyisvalid
func (c *Client) keyIsValid(ctx context.Context, k roomserver.ThirdPartyKey) error {
	u, err := url.Parse(k.ValidityURL)
	if err != nil || u.Scheme != "https" || u.User != nil || u.Host == "" {
		return httpapi.Forbidden("The key of the invitation can't be checked")
	}
	if err := c.Allowed(u.Host); err != nil {
		return err
	}
	q := u.Query()
	q.Set("public_key", k.Key)
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return httpapi.Forbidden("The key of the invitation can't be checked")
	}
	status, body, err := c.send(req)
	if err != nil {
		e := httpapi.New(http.StatusBadGateway, "M_UNKNOWN", "The identity server %s can't be reached", u.Host)
		e.Err = err
		return e
	}
	if status != http.StatusOK || !gjson.ValidBytes(body) || gjson.GetBytes(body, "valid").Type != gjson.True {
		return httpapi.Forbidden("The key of the invitation is no longer valid")
	}
	return nil
}
