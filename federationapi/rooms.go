package federationapi

import (
	"context"
	"errors"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

// room is a room as the asking server may see it.
type room struct {
	*roomserver.View
	vis *roomserver.ServerVisibility
	// own is this server's name. While it doesn't know who is in the room, it shows others
	// nothing but what its own users say, which they have been sent.
	own string
}

// canSee reports whether the asking server may see the event.
func (rm *room) canSee(e *storage.Event) bool {
	return rm.vis.CanSee(e) && (!rm.Room.IsPartial() || userid.IsLocal(e.Sender, rm.own))
}

// maxID bounds room and event ids, in bytes.
const maxID = 255

// room returns a room in which the asking server has or had users, and whose access
// control list doesn't bar it. A room that isn't gets others the same answer.
func (a *API) room(ctx context.Context, origin, roomID string) (*room, error) {
	unknown := httpapi.Forbidden("%s takes part in no such room here", origin)
	if len(roomID) > maxID {
		return nil, unknown
	}
	v, err := a.rooms.View(ctx, roomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	vis, err := a.rooms.ServerVisibility(ctx, v, origin)
	if err != nil {
		return nil, err
	}
	if !vis.WasIn() {
		return nil, unknown
	}
	allowed, err := a.rooms.ServerAllowed(ctx, v, origin)
	if err != nil {
		return nil, err
	}
	if !allowed {
		return nil, httpapi.Forbidden("The room's access control list bars %s", origin)
	}
	return &room{v, vis, a.serverName}, nil
}

// event returns an event of the room that the asking server may see, or know of.
func (a *API) event(ctx context.Context, rm *room, eventID string) (*storage.Event, error) {
	if eventID == "" {
		return nil, httpapi.MissingParam("event_id is missing")
	}
	e, err := a.rooms.EventByID(ctx, rm.Room.ID, eventID)
	if errors.Is(err, storage.ErrNotFound) || err == nil && !visible(rm, e) && !mayKnow(rm, e) {
		return nil, httpapi.NotFound("There is no such event in the room")
	}
	return e, err
}

func visible(rm *room, e *storage.Event) bool {
	return e.Flags&storage.Rejected == 0 && rm.canSee(e)
}

// mayKnow reports whether a server that may not see an event may know that it is there: a
// server in the room needs that to judge others by it.
func mayKnow(rm *room, e *storage.Event) bool {
	return e.Flags&storage.Rejected == 0 && rm.vis.IsIn()
}

// appendPDUs appends a JSON array of the events, of those that the asking server may
// not see the redacted form: their place in the graph is no secret.
func (a *API) appendPDUs(b []byte, rm *room, events []*storage.Event) ([]byte, error) {
	b = append(b, '[')
	for i, e := range events {
		if i > 0 {
			b = append(b, ',')
		}
		text := e.JSON
		if !rm.canSee(e) {
			var err error
			if text, err = a.rooms.Redacted(rm.View, e); err != nil {
				return nil, err
			}
		}
		b = append(b, text...)
	}
	return append(b, ']'), nil
}

func one(r *http.Request, name string) string { return r.URL.Query().Get(name) }
