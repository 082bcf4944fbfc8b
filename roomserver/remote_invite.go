package roomserver

import (
	"context"
	"errors"
	"fmt"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// Remote reports whether the room can only be entered, and left, by way of another
// server: because none of this server's users is in it.
func (s *Server) Remote(ctx context.Context, roomID string) (bool, error) {
	v, err := s.View(ctx, roomID)
	if errors.Is(err, ErrUnknownRoom) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return s.JoinedServers(v)[s.o.ServerName] == 0, nil
}

// Note keeps a membership event of one of this server's users in a room that none of
// them is in: an invitation, with the stripped state that came with it, or its end.
// Of such a room nothing else is known that could authorise the event.
func (s *Server) Note(ctx context.Context, pdu gomatrixserverlib.PDU, stripped []byte) error {
	if pdu.StateKey() == nil {
		return fmt.Errorf("noting %s, which is no membership", pdu.EventID())
	}
	build := func(b *builder) error {
		if stripped != nil {
			b.change.InviteStates = []storage.InviteState{{UserID: *pdu.StateKey(), Stripped: stripped}}
		}
		return b.append(fromPDU(pdu), pdu)
	}
	roomID := pdu.RoomID().String()
	for {
		remote, err := s.Remote(ctx, roomID)
		if err != nil {
			return err
		}
		if !remote {
			return httpapi.Forbidden("This server is in the room by now")
		}
		_, err = s.load(ctx, roomID)
		if err == nil {
			err = s.change(ctx, roomID, build)
		} else if errors.Is(err, ErrUnknownRoom) {
			err = s.noteNew(ctx, pdu, build)
		}
		if storage.IsUniqueViolation(err) {
			return nil // it came twice
		}
		if !errors.Is(err, storage.ErrOvertaken) {
			return err
		}
	}
}

func (s *Server) noteNew(ctx context.Context, pdu gomatrixserverlib.PDU, build func(b *builder) error) error {
	version, err := gomatrixserverlib.GetRoomVersion(pdu.Version())
	if err != nil {
		return fmt.Errorf("noting a membership: %w", err)
	}
	nid, err := s.db.NextNID(ctx)
	if err != nil {
		return err
	}
	roomID := pdu.RoomID().String()
	row := storage.Room{NID: nid, ID: roomID, RoomVersion: string(pdu.Version()), ForwardExtremities: []string{}}
	_, err = s.startRoom(ctx, version, row, func(b *builder) error {
		b.rm.id = roomID
		return build(b)
	})
	return err
}
