package clientapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/tidwall/gjson"

	"hearth/push"
	"hearth/storage"
)

// carryOver gives a user who has just come into a room what they had set for the room that
// it replaces: tags, push rules, and whether it is a direct chat. They are in the room
// whether or not that succeeds.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
func (a *API) carryOver(ctx context.Context, roomID, userID string) {
	ctx = context.WithoutCancel(ctx)
	old, err := a.predecessor(ctx, roomID)
	if err == nil && old != "" && old != roomID {
		err = errors.Join(a.carryTags(ctx, userID, old, roomID), a.carryDirect(ctx, userID, old, roomID),
			a.carryPushRules(ctx, userID, old, roomID))
	}
	if err != nil {
		a.log.Error("settings weren't carried over to a room's successor", "room", roomID, "user", userID, "err", err)
	}
}

// predecessor is the room that a room says it replaces, "" for none.
func (a *API) predecessor(ctx context.Context, roomID string) (string, error) {
	v, err := a.rooms.View(ctx, roomID)
	if err != nil {
		return "", err
	}
	create, err := a.rooms.StateEvent(ctx, v, "m.room.create", "")
	if err != nil || create == nil {
		return "", err
	}
	return gjson.GetBytes(create.JSON, "content.predecessor.room_id").Str, nil
}

func (a *API) carryTags(ctx context.Context, userID, from, to string) error {
	tags, err := a.db.GetAccountData(ctx, userID, from, "m.tag")
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := a.db.GetAccountData(ctx, userID, to, "m.tag"); !errors.Is(err, storage.ErrNotFound) {
		return err // the new room has its own
	}
	return a.db.Stream.Append(ctx, &storage.Change{AccountData: []storage.AccountData{
		{UserID: userID, RoomID: to, Type: "m.tag", Content: tags}}})
}

func (a *API) carryDirect(ctx context.Context, userID, from, to string) error {
	content, err := a.db.GetAccountData(ctx, userID, "", "m.direct")
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	var direct map[string][]string
	if json.Unmarshal(content, &direct) != nil {
		return nil // a client may have put anything there
	}
	changed := false
	for with, rooms := range direct {
		if slices.Contains(rooms, from) && !slices.Contains(rooms, to) {
			direct[with], changed = append(rooms, to), true
		}
	}
	if !changed {
		return nil
	}
	if content, err = json.Marshal(direct); err != nil {
		return fmt.Errorf("encoding m.direct: %w", err)
	}
	return a.db.Stream.Append(ctx, &storage.Change{AccountData: []storage.AccountData{
		{UserID: userID, Type: "m.direct", Content: content}}})
}

func (a *API) carryPushRules(ctx context.Context, userID, from, to string) error {
	rules, err := a.o.PushRules.Rules(ctx, userID)
	if err != nil || !rules.ForRoom(from, to) {
		return err
	}
	return a.o.PushRules.Change(ctx, userID, func(s *push.Ruleset) error {
		s.ForRoom(from, to)
		return nil
	})
}
