package clientapi

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"time"

	"hearth/internal/httpapi"
	"hearth/internal/token"
	"hearth/push"
	"hearth/roomserver"
	"hearth/storage"
)

// notification is an event that its reader was notified of.
type notification struct {
	Actions []any           `json:"actions"`
	Event   json.RawMessage `json:"event"`
	Read    bool            `json:"read"`
	RoomID  string          `json:"room_id"`
	TS      int64           `json:"ts"`
}

// getNotifications answers GET /_matrix/client/v3/notifications.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications
func (a *API) getNotifications(r *http.Request, u *httpapi.Requester) (any, error) {
	n, err := limit(r)
	if err != nil {
		return nil, err
	}
	from, err := gapParam(r, "from", newest)
	if err != nil {
		return nil, err
	}
	ignored, err := push.Ignored(r.Context(), a.db, u.UserID)
	if err != nil {
		return nil, err
	}
	only := r.URL.Query().Get("only") == "highlight"
	page, next, err := a.db.Notifications(r.Context(), u.UserID, ignored, from.After.Position, only, max(n, 1))
	if err != nil {
		return nil, err
	}
	answer := struct {
		NextToken     string         `json:"next_token,omitempty"`
		Notifications []notification `json:"notifications"`
	}{Notifications: []notification{}}
	if answer.Notifications, err = a.notifications(r.Context(), u, page); err != nil {
		return nil, err
	}
	if next > 0 {
		answer.NextToken = token.Gap{After: storage.Place{Position: next}}.String()
	}
	return answer, nil
}

// notifications renders those of a page that the user may see.
func (a *API) notifications(ctx context.Context, u *httpapi.Requester, page []storage.Notification) ([]notification, error) {
	list := []notification{}
	views := map[int64]*roomserver.View{}
	var all []*roomserver.View
	var rooms []int64
	var events []*storage.Event
	for _, n := range page {
		events = append(events, n.Event)
		if views[n.Event.RoomNID] != nil {
			continue
		}
		v, err := a.rooms.View(ctx, n.Event.RoomID)
		if err != nil {
			return nil, err
		}
		views[n.Event.RoomNID] = v
		all, rooms = append(all, v), append(rooms, n.Event.RoomNID)
	}
	visible, err := a.rooms.Visibilities(ctx, all, u.UserID)
	if err != nil {
		return nil, err
	}
	for nid, v := range views {
		if visible[nid], err = a.rooms.Remembered(ctx, v, u.UserID); err != nil {
			return nil, err
		}
	}
	read, err := a.db.ReadPositions(ctx, u.UserID, rooms)
	if err != nil {
		return nil, err
	}
	threads, err := a.db.IndirectThreads(ctx, relating(events))
	if err != nil {
		return nil, err
	}
	related, err := a.rooms.Related(ctx, events)
	if err != nil {
		return nil, err
	}
	reader := roomserver.Reader{UserID: u.UserID, DeviceID: u.DeviceID, Now: time.Now().UnixMilli()}
	for _, n := range page {
		e := n.Event
		if !visible[e.RoomNID].CanSee(e) {
			continue
		}
		list = append(list, notification{
			Actions: a.actions(ctx, u.UserID, views[e.RoomNID], n), Event: roomserver.AppendClientEvent(nil, e, related, reader),
			Read: hasRead(read[e.RoomNID], e, threads[e.NID]), RoomID: e.RoomID, TS: e.OriginTS,
		})
	}
	return list, nil
}

// relating are the numbers of the events that relate to others.
func relating(events []*storage.Event) (nids []int64) {
	for _, e := range events {
		if _, ok := e.Relation(); ok {
			nids = append(nids, e.NID)
		}
	}
	return nids
}

// actions are those of the rule that matches the event today; if by now none would
// notify, what is known of the one that did.
func (a *API) actions(ctx context.Context, userID string, v *roomserver.View, n storage.Notification) []any {
	if o := a.o.PushRules.Evaluate(userID, a.rooms.Occasion(ctx, v, n.Event)); o.Notifies {
		return o.Actions
	}
	actions := []any{"notify"}
	if n.Highlight {
		actions = append(actions, push.Tweak{SetTweak: "highlight"})
	}
	return actions
}

// hasRead reports whether receipts, by thread, cover an event; indirect is the thread that it is in
// if that isn't said by itself.
func hasRead(read map[string]storage.Position, e *storage.Event, indirect string) bool {
	return e.Position <= max(read[""], read[cmp.Or(roomserver.ThreadOf(e), indirect, "main")])
}
