package roomserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// Remote reports whether the room can only be entered, and left, by way of another
// server: none of this server's users is in it, and others' are, or nothing but an
// invitation is known of it.
func (s *Server) Remote(ctx context.Context, roomID string) (bool, error) {
	v, err := s.View(ctx, roomID)
	if errors.Is(err, ErrUnknownRoom) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	joined := s.JoinedServers(v)
	_, known := v.Entry("m.room.create", "")
	return joined[s.o.ServerName] == 0 && (!known || len(joined) > 0), nil
}

// JoinedRemotely is Remote for a user who wants to join. While members aren't known nobody
// here can tell whether a user is banned of whom nothing is known.
func (s *Server) JoinedRemotely(ctx context.Context, roomID, userID string) (bool, error) {
	remote, err := s.Remote(ctx, roomID)
	if remote || err != nil {
		return remote, err
	}
	v, err := s.View(ctx, roomID)
	if err != nil {
		return false, err
	}
	_, known := v.Entry("m.room.member", userID)
	return v.Room.IsPartial() && !known, nil
}

// Note keeps a membership event of one of this server's users in a room that none of
// them is in: an invitation, with the stripped state that came with it, or its end.
// Of such a room nothing else is known that could authorise the event. The error is ErrInRoom if
// by now somebody is in it.
func (s *Server) Note(ctx context.Context, pdu gomatrixserverlib.PDU, stripped []byte) error {
	if pdu.StateKey() == nil {
		return fmt.Errorf("noting %s, which is no membership", pdu.EventID())
	}
	if err := checkPDU(pdu); err != nil {
		return err
	}
	build := func(b *builder) error {
		if stripped != nil {
			b.change.InviteStates = []storage.InviteState{{UserID: *pdu.StateKey(), Stripped: stripped}}
		}
		known, err := b.knownOf([]string{pdu.EventID()})
		if err != nil {
			return err
		}
		e := fromPDU(pdu)
		e.Flags = storage.Relayed
		if stored := known[e.ID]; stored != nil && stored.Flags&storage.Outlier == 0 {
			return nil // it comes again
		} else if stored != nil {
			b.takeUp(e, stored)
		}
		return b.append(e, pdu)
	}
	roomID := pdu.RoomID().String()
	twice := false
	for range maxAttempts {
		remote, err := s.Remote(ctx, roomID)
		if err != nil {
			return err
		}
		if !remote {
			return ErrInRoom
		}
		_, err = s.load(ctx, roomID)
		if err == nil {
			err = s.change(ctx, roomID, build)
		} else if errors.Is(err, ErrUnknownRoom) {
			err = s.noteNew(ctx, pdu, build)
		}
		switch {
		case errors.Is(err, storage.ErrOvertaken):
		case storage.IsUniqueViolation(err) && !twice: // it may have come by two ways at once
			twice = true
		default:
			return err
		}
	}
	return httpapi.Unavailable(time.Second, "The room is changing too fast; try again")
}

func (s *Server) noteNew(ctx context.Context, pdu gomatrixserverlib.PDU, build func(b *builder) error) error {
	version, err := gomatrixserverlib.GetRoomVersion(pdu.Version())
	if err != nil {
		return fmt.Errorf("noting a membership: %w", err)
	}
	_, err = s.startRoom(ctx, version, pdu.RoomID().String(), build)
	return err
}
