package syncapi

import (
	"context"
	"fmt"

	"github.com/tidwall/gjson"

	"hearth/storage"
)

// outline is what it takes to find a room's place in a list of rooms: less than its
// view, so that somebody in thousands of rooms is shown some without all being read.
type outline struct {
	// known is whether the state is known at all.
	known                      bool
	name, roomType, encryption string
}

func outlineOf(s *storage.RoomSummary) *outline {
	return &outline{known: true, name: s.Name, roomType: s.RoomType, encryption: s.Encryption}
}

// loadOutlines reads the outlines of rooms that the user has something to do with, all in
// one query.
func (a *API) loadOutlines(ctx context.Context, u *user, rooms []int64) error {
	found, err := a.db.RoomOutlines(ctx, rooms)
	if err != nil {
		return err
	}
	if len(found) < len(rooms) {
		return fmt.Errorf("%d rooms of %s aren't stored", len(rooms)-len(found), u.id)
	}
	unknown, err := a.invitedTo(ctx, u, found)
	if err != nil {
		return err
	}
	h := a.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range found {
		o := unknown[f.RoomNID]
		if o == nil {
			o = &outline{known: f.Known, name: f.Name, roomType: f.RoomType, encryption: f.Encryption}
		}
		if m := u.memberships[f.RoomNID]; m.Membership != "join" {
			if f.EncryptedAt > m.Position && (m.Membership == "leave" || m.Membership == "ban") {
				o.encryption = "" // what they left was another room
			}
			u.outlines[f.RoomNID] = o
			continue
		}
		if r := h.rooms[f.RoomNID]; r != nil {
			r.latest = max(r.latest, f.Latest)
			if r.outline == nil { // what the stream has brought meanwhile is newer
				r.outline = o
			}
		}
	}
	return nil
}

// invitedTo is the outlines of rooms of which nothing is known but an invitation: what
// the invitation says.
func (a *API) invitedTo(ctx context.Context, u *user, found []storage.RoomOutline) (map[int64]*outline, error) {
	var nids []int64
	for _, f := range found {
		if !f.Known {
			nids = append(nids, f.RoomNID)
		}
	}
	if len(nids) == 0 {
		return nil, nil
	}
	states, err := a.db.InviteStatesOf(ctx, nids, u.id)
	outlines := map[int64]*outline{}
	for nid, stripped := range states {
		o := &outline{}
		for _, e := range gjson.ParseBytes(stripped).Array() {
			switch e.Get("type").Str {
			case "m.room.create":
				o.known, o.roomType = true, e.Get("content.type").Str
			case "m.room.name":
				o.name = e.Get("content.name").Str
			case "m.room.encryption":
				o.encryption = e.Get("content.algorithm").Str
			}
		}
		outlines[nid] = o
	}
	return outlines, err
}
