package roomserver

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// MembershipTemplate returns a membership event for a user of another server to
// sign, if the room allows it, with the room's version.
//
// https://spec.matrix.org/v1.19/server-server-api/#joining-rooms
func (s *Server) MembershipTemplate(ctx context.Context, r MembershipRequest) (v gomatrixserverlib.RoomVersion, p *gomatrixserverlib.ProtoEvent, err error) {
	err = s.change(ctx, r.RoomID, func(b *builder) error {
		v = b.rm.version.Version()
		p, err = b.membershipTemplate(r)
		return err // nothing was added, so nothing is written
	})
	return v, p, err
}

func (b *builder) membershipTemplate(r MembershipRequest) (*gomatrixserverlib.ProtoEvent, error) {
	content := r.content()
	target, _ := b.head.state.Get(storage.StateTuple{Type: "m.room.member", StateKey: r.Target})
	if r.Membership == "invite" && target.Membership == "join" {
		return nil, alreadyJoined(r.Target)
	}
	if r.Membership == "join" {
		if err := b.authoriseRestricted(r.Target, content); err != nil {
			return nil, err
		}
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, fmt.Errorf("encoding a membership: %w", err)
	}
	p := &gomatrixserverlib.ProtoEvent{
		SenderID: r.Sender, RoomID: b.head.row.ID, Type: "m.room.member", StateKey: &r.Target,
		PrevEvents: b.newest(), Depth: nextDepth(b.rm.version, b.head.row.Depth), Content: raw, Version: b.rm.version,
	}
	auth, err := b.authEvents(p)
	if err != nil {
		return nil, err
	}
	if err := b.setAuthEvents(p, auth); err != nil {
		return nil, err
	}
	// Signed by this server it is worth nothing, but the rules can be applied to it.
	pdu, err := b.s.buildPDU(b.rm.version, p, time.Now())
	if err != nil {
		return nil, err
	}
	if err := authorise(pdu, auth); err != nil {
		return nil, err
	}
	return p, nil
}

// SignTemplate makes an event of one of this server's users from a template that
// another server gave, which must have been checked.
func (s *Server) SignTemplate(v gomatrixserverlib.RoomVersion, p *gomatrixserverlib.ProtoEvent) (gomatrixserverlib.PDU, error) {
	version, err := gomatrixserverlib.GetRoomVersion(v)
	if err != nil {
		return nil, httpapi.New(400, "M_INCOMPATIBLE_ROOM_VERSION", "Room version %q isn't supported", v)
	}
	p.Version = version
	return s.buildPDU(version, p, time.Now())
}

// CoSign adds this server's signature to an event that one of its users authorises.
func (s *Server) CoSign(pdu gomatrixserverlib.PDU) gomatrixserverlib.PDU {
	return pdu.Sign(s.o.ServerName, gomatrixserverlib.KeyID(s.o.KeyID), s.o.PrivateKey)
}

// MemberContent is the content of a membership event of one of this server's users.
func (s *Server) MemberContent(ctx context.Context, r MembershipRequest) (map[string]any, error) {
	return s.memberContent(ctx, r)
}
