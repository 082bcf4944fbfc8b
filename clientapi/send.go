package clientapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

func (a *API) sendRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "PUT", Path: "/rooms/{roomId}/send/{eventType}/{txnId}", Rate: httpapi.RateMessage, Handle: a.putSend},
		{Method: "PUT", Path: "/rooms/{roomId}/redact/{eventId}/{txnId}", Rate: httpapi.RateMessage, Handle: a.putRedact},
	}
}

// stickyParam reads for how many milliseconds the event that is sent is to be sticky; nil for
// one that isn't.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4354
func stickyParam(r *http.Request) (*int64, error) {
	const name = "org.matrix.msc4354.sticky_duration_ms"
	if !strings.Contains(r.URL.RawQuery, name) || !r.URL.Query().Has(name) {
		return nil, nil
	}
	ms, err := strconv.ParseInt(r.URL.Query().Get(name), 10, 64)
	if err != nil {
		return nil, httpapi.InvalidParam("%s must be a number of milliseconds", name)
	}
	return &ms, nil
}

// eventID is the answer of everything that sends one event.
type eventID struct {
	EventID string `json:"event_id"`
}

// putSend answers PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidsendeventtypetxnid
func (a *API) putSend(r *http.Request, u *httpapi.Requester) (any, error) {
	if isDelayed(r) {
		return a.putSendDelayed(r, u)
	}
	content, err := httpapi.ReadJSON(r)
	if err != nil {
		return nil, err
	}
	if u.Suspended {
		if err := a.suspendedSend(r, u, gjson.GetBytes(content, "redacts").Str); err != nil {
			return nil, err
		}
	}
	sticky, err := stickyParam(r)
	if err != nil {
		return nil, err
	}
	id, err := a.rooms.Send(r.Context(), roomserver.EventRequest{
		RoomID: httpapi.Var(r, "roomId"), Sender: u.UserID, Type: httpapi.Var(r, "eventType"), Content: content, StickyMS: sticky,
		DeviceID: u.DeviceID, TxnID: httpapi.Var(r, "txnId"), Endpoint: "send",
	})
	return eventID{id}, err
}

// putRedact answers PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidredacteventidtxnid
func (a *API) putRedact(r *http.Request, u *httpapi.Requester) (any, error) {
	content := map[string]json.RawMessage{}
	if err := httpapi.DecodeOptionalJSON(r, &content); err != nil {
		return nil, err
	}
	if reason := content["reason"]; reason != nil && gjson.ParseBytes(reason).Type != gjson.String {
		return nil, httpapi.BadJSON("reason must be a string")
	}
	if u.Suspended {
		if err := a.suspendedRedact(r, u, httpapi.Var(r, "eventId")); err != nil {
			return nil, err
		}
	}
	delete(content, "redacts")
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, httpapi.BadJSON("The content can't be written as JSON: %v", err)
	}
	id, err := a.rooms.Send(r.Context(), roomserver.EventRequest{
		RoomID: httpapi.Var(r, "roomId"), Sender: u.UserID, Type: "m.room.redaction", Content: raw,
		Redacts: httpapi.Var(r, "eventId"), DeviceID: u.DeviceID, TxnID: httpapi.Var(r, "txnId"), Endpoint: "redact",
	})
	return eventID{id}, err
}

// suspendedSend refuses what a suspended user may not send: everything but redactions
// of their own events.
//
// https://spec.matrix.org/v1.19/client-server-api/#account-suspension
func (a *API) suspendedSend(r *http.Request, u *httpapi.Requester, redacts string) error {
	if httpapi.Var(r, "eventType") != "m.room.redaction" {
		return httpapi.UserSuspended()
	}
	return a.suspendedRedact(r, u, redacts)
}

func (a *API) suspendedRedact(r *http.Request, u *httpapi.Requester, eventID string) error {
	e, err := a.rooms.EventByID(r.Context(), httpapi.Var(r, "roomId"), eventID)
	if errors.Is(err, storage.ErrNotFound) || err == nil && e.Sender != u.UserID {
		return httpapi.UserSuspended()
	}
	return err
}
