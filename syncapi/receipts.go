package syncapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

// maxEventID bounds the ids of events and threads, in bytes.
const maxEventID = 255

// postReceipt answers POST /_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreceiptreceipttypeeventid
func (a *API) postReceipt(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		ThreadID *string `json:"thread_id"`
	}
	if err := httpapi.DecodeOptionalJSON(r, &body); err != nil {
		return nil, err
	}
	kind, eventID, thread := httpapi.Var(r, "receiptType"), httpapi.Var(r, "eventId"), ""
	switch kind {
	case "m.read", "m.read.private", "m.fully_read":
	default:
		return nil, httpapi.InvalidParam("%q is no type of receipt", kind)
	}
	if body.ThreadID != nil {
		thread = *body.ThreadID
		if thread == "" || len(thread) > maxEventID || kind == "m.fully_read" || thread != "main" && thread[0] != '$' {
			return nil, httpapi.InvalidParam("thread_id isn't allowed here, or is no thread")
		}
	}
	v, err := a.joinedView(r, u.UserID)
	if err != nil {
		return nil, err
	}
	if kind == "m.fully_read" {
		return nil, a.markRead(r.Context(), u.UserID, v, map[string]string{kind: eventID})
	}
	change, err := a.receipt(r.Context(), u.UserID, v, kind, thread, eventID)
	if err != nil || change == nil {
		return nil, err
	}
	return nil, a.db.Stream.Append(r.Context(), &storage.Change{Receipts: []storage.Receipt{*change}})
}

// receipt prepares a receipt; nil if the user has read further already.
func (a *API) receipt(ctx context.Context, userID string, v *roomserver.View, kind, thread, eventID string) (*storage.Receipt, error) {
	e, err := a.visibleEvent(ctx, userID, v, eventID)
	if err != nil {
		return nil, err
	}
	if err := a.checkThread(ctx, e, thread); err != nil {
		return nil, err
	}
	old, err := a.db.UserReceipt(ctx, v.Room.NID, userID, kind, thread)
	if err == nil && old.EventPosition >= e.Position {
		return nil, nil
	}
	if err != nil && !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	return &storage.Receipt{RoomNID: v.Room.NID, RoomID: v.Room.ID, UserID: userID, Type: kind, ThreadID: thread,
		EventID: eventID, EventPosition: e.Position, TS: time.Now().UnixMilli()}, nil
}

// visibleEvent returns an event of the room that the user may see.
func (a *API) visibleEvent(ctx context.Context, userID string, v *roomserver.View, eventID string) (*storage.Event, error) {
	noEvent := httpapi.NotFound("There is no such event in this room")
	e, err := a.rooms.EventByID(ctx, v.Room.ID, eventID)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, noEvent
	}
	if err != nil {
		return nil, err
	}
	vis, err := a.rooms.Visibility(ctx, v, userID)
	if err == nil && !vis.CanSee(e) {
		err = noEvent
	}
	return e, err
}

// checkThread makes sure that the event is in the thread that a receipt names. A thread's root counts for
// both the thread and the main timeline; what a redacted event was in nobody knows.
//
// https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts
func (a *API) checkThread(ctx context.Context, e *storage.Event, thread string) error {
	if thread == "" || thread == e.ID || e.RedactedBy != "" {
		return nil
	}
	of, err := a.rooms.ThreadOf(ctx, e)
	if err != nil {
		return err
	}
	if of != thread && (of != "" || thread != "main") {
		return httpapi.InvalidParam("%s isn't in the thread %s", e.ID, thread)
	}
	return nil
}

// postReadMarkers answers POST /_matrix/client/v3/rooms/{roomId}/read_markers.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidread_markers
func (a *API) postReadMarkers(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		FullyRead   string `json:"m.fully_read"`
		Read        string `json:"m.read"`
		ReadPrivate string `json:"m.read.private"`
	}
	if err := httpapi.DecodeOptionalJSON(r, &body); err != nil {
		return nil, err
	}
	v, err := a.joinedView(r, u.UserID)
	if err != nil {
		return nil, err
	}
	return nil, a.markRead(r.Context(), u.UserID, v, map[string]string{
		"m.fully_read": body.FullyRead, "m.read": body.Read, "m.read.private": body.ReadPrivate})
}

// markRead moves the markers that are given, as one change.
func (a *API) markRead(ctx context.Context, userID string, v *roomserver.View, markers map[string]string) error {
	var c storage.Change
	for kind, eventID := range markers {
		if eventID == "" {
			continue
		}
		if kind == "m.fully_read" {
			if len(eventID) > maxEventID {
				return httpapi.InvalidParam("m.fully_read is no event id")
			}
			if _, err := a.visibleEvent(ctx, userID, v, eventID); err != nil {
				return err
			}
			content, err := json.Marshal(map[string]string{"event_id": eventID})
			if err != nil {
				return err
			}
			c.AccountData = append(c.AccountData, storage.AccountData{UserID: userID, RoomID: v.Room.ID, Type: kind, Content: content})
			continue
		}
		receipt, err := a.receipt(ctx, userID, v, kind, "", eventID)
		if err != nil {
			return err
		}
		if receipt != nil {
			c.Receipts = append(c.Receipts, *receipt)
		}
	}
	if len(c.Receipts)+len(c.AccountData) == 0 {
		return nil
	}
	return a.db.Stream.Append(ctx, &c)
}

// appendReceipts appends the receipts of a room as one m.receipt event, grouped
// by event, type and user. Of a user's receipts for one event there is room for one: that
// for everything says what one for a thread does.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4102
// https://spec.matrix.org/v1.19/client-server-api/#mreceipt
func appendReceipts(b []byte, receipts []storage.Receipt) []byte {
	type key struct{ event, kind string }
	byEvent := map[string][]string{}
	byKey := map[key]map[string]storage.Receipt{}
	var order []string
	for _, r := range receipts {
		k := key{r.EventID, r.Type}
		if byEvent[r.EventID] == nil {
			order = append(order, r.EventID)
		}
		if byKey[k] == nil {
			byKey[k] = map[string]storage.Receipt{}
			byEvent[r.EventID] = append(byEvent[r.EventID], r.Type)
		}
		if there, ok := byKey[k][r.UserID]; !ok || there.ThreadID != "" {
			byKey[k][r.UserID] = r
		}
	}
	b = append(b, `{"type":"m.receipt","content":{`...)
	for _, event := range order {
		b = append(appendJSON(comma(b), event), `:{`...)
		for _, kind := range byEvent[event] {
			b = append(appendJSON(comma(b), kind), `:{`...)
			for userID, r := range byKey[key{event, kind}] {
				b = append(appendJSON(comma(b), userID), `:{"ts":`...)
				b = strconv.AppendInt(b, r.TS, 10)
				if r.ThreadID != "" {
					b = appendJSON(append(b, `,"thread_id":`...), r.ThreadID)
				}
				b = append(b, '}')
			}
			b = append(b, '}')
		}
		b = append(b, '}')
	}
	return append(b, `}}`...)
}
