package roomserver

import (
	"context"
	"encoding/json"

	"hearth/storage"
)

// strippedTypes is the state that tells an invited user what the room is.
//
// https://spec.matrix.org/v1.19/client-server-api/#stripped-state
var strippedTypes = []string{"m.room.create", "m.room.name", "m.room.avatar", "m.room.topic", "m.room.join_rules",
	"m.room.canonical_alias", "m.room.encryption"}

// StrippedState returns what somebody who isn't in the room is shown of its state,
// and the member event of who invites them.
//
// https://spec.matrix.org/v1.19/client-server-api/#stripped-state
func (s *Server) StrippedState(ctx context.Context, roomID, inviter string) ([]json.RawMessage, error) {
	events, err := s.tellingState(ctx, roomID, inviter)
	list := make([]json.RawMessage, 0, len(events)+1)
	for _, e := range events {
		list = append(list, AppendStrippedEvent(nil, e))
	}
	return list, err
}

// UnstrippedState is the same for the server of who is invited or knocks: whole events, from
// which it can see that they are of this room.
//
// https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
func (s *Server) UnstrippedState(ctx context.Context, roomID, inviter string) ([]json.RawMessage, error) {
	events, err := s.tellingState(ctx, roomID, inviter)
	list := make([]json.RawMessage, 0, len(events))
	for _, e := range events {
		list = append(list, e.JSON)
	}
	return list, err
}

// tellingState is the state that tells somebody who isn't in a room what it is.
func (s *Server) tellingState(ctx context.Context, roomID, inviter string) ([]*storage.Event, error) {
	v, err := s.View(ctx, roomID)
	if err != nil {
		return nil, err
	}
	var nids []int64
	for _, t := range strippedTypes {
		if e, ok := v.Entry(t, ""); ok {
			nids = append(nids, e.EventNID)
		}
	}
	if e, ok := v.Entry("m.room.member", inviter); ok {
		nids = append(nids, e.EventNID)
	}
	return s.EventList(ctx, nids)
}

// StrippedMember returns a user's member event as stripped state, nil for none.
func (s *Server) StrippedMember(ctx context.Context, roomID, userID string) (json.RawMessage, error) {
	v, err := s.View(ctx, roomID)
	if err != nil {
		return nil, err
	}
	e, err := s.StateEvent(ctx, v, "m.room.member", userID)
	if err != nil || e == nil {
		return nil, err
	}
	return AppendStrippedEvent(nil, e), nil
}
