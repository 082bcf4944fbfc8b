package federationapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"hearth/internal/httpapi"
	"hearth/storage"
)

func (a *API) eventRoutes() []httpapi.Route {
	return []httpapi.Route{
		a.signed("GET", "/event/{eventId}", a.getEvent),
		a.signed("GET", "/event_auth/{roomId}/{eventId}", a.getEventAuth),
	}
}

// getEvent is GET /event/{eventId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1eventeventid
func (a *API) getEvent(r *http.Request, origin string, _ json.RawMessage) (any, error) {
	unknown := httpapi.NotFound("There is no such event that %s may see", origin)
	list, err := a.db.EventsByID(r.Context(), []string{httpapi.Var(r, "eventId")})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, unknown
	}
	e := list[0]
	rm, err := a.room(r.Context(), origin, e.RoomID)
	var refused *httpapi.Error
	if errors.As(err, &refused) {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	if !visible(rm, e) && !mayKnow(rm, e) {
		return nil, unknown
	}
	b, err := a.appendPDUs(a.appendOrigin(nil), rm, []*storage.Event{e})
	return httpapi.Raw(append(b, '}')), err
}

// appendOrigin begins an answer of the form of a transaction, up to its pdus.
func (a *API) appendOrigin(b []byte) []byte {
	b = append(b, `{"origin":`...)
	b = strconv.AppendQuote(b, a.serverName)
	b = append(b, `,"origin_server_ts":`...)
	b = strconv.AppendInt(b, time.Now().UnixMilli(), 10)
	return append(b, `,"pdus":`...)
}

// getEventAuth is GET /event_auth/{roomId}/{eventId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1event_authroomideventid
func (a *API) getEventAuth(r *http.Request, origin string, _ json.RawMessage) (any, error) {
	rm, err := a.room(r.Context(), origin, httpapi.Var(r, "roomId"))
	if err != nil {
		return nil, err
	}
	e, err := a.event(r.Context(), rm, httpapi.Var(r, "eventId"))
	if err != nil {
		return nil, err
	}
	chain, err := a.rooms.AuthChainOf(r.Context(), rm.View, []*storage.Event{e})
	if err != nil {
		return nil, err
	}
	return httpapi.Raw(appendWhole([]byte(`{"auth_chain":`), chain, '}')), nil
}

// appendWhole appends a JSON array of events as they are, whoever asks: what
// authorises others is never secret to who may see those.
func appendWhole(b []byte, events []*storage.Event, end byte) []byte {
	size := len(b) + 2
	for _, e := range events {
		size += len(e.JSON) + 1
	}
	if cap(b) < size+64 {
		b = append(make([]byte, 0, size+64), b...)
	}
	b = append(b, '[')
	for i, e := range events {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, e.JSON...)
	}
	return append(b, ']', end)
}
