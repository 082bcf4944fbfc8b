package federationapi

import (
	"encoding/json"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

func (a *API) stateRoutes() []httpapi.Route {
	return []httpapi.Route{
		a.signed("GET", "/state_ids/{roomId}", a.getStateIDs),
		a.signed("GET", "/state/{roomId}", a.getState),
	}
}

// stateBefore returns the room's state before the event that the query names, and
// the events that authorise it.
func (a *API) stateBefore(r *http.Request, origin string) (state, chain []*storage.Event, err error) {
	ctx := r.Context()
	rm, err := a.room(ctx, origin, httpapi.Var(r, "roomId"))
	if err != nil {
		return nil, nil, err
	}
	e, err := a.event(ctx, rm, one(r, "event_id"))
	if err != nil {
		return nil, nil, err
	}
	if e.Flags&storage.Outlier != 0 || e.SnapshotNID == 0 && e.Type != "m.room.create" {
		return nil, nil, httpapi.NotFound("The state at this event isn't known here")
	}
	return a.stateOf(ctx, rm.View, e)
}

// getState is GET /state/{roomId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid
func (a *API) getState(r *http.Request, origin string, _ json.RawMessage) (any, error) {
	state, chain, err := a.stateBefore(r, origin)
	if err != nil {
		return nil, err
	}
	b := appendWhole([]byte(`{"pdus":`), state, ',')
	return httpapi.Raw(appendWhole(append(b, `"auth_chain":`...), chain, '}')), nil
}

// getStateIDs is GET /state_ids/{roomId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid
func (a *API) getStateIDs(r *http.Request, origin string, _ json.RawMessage) (any, error) {
	state, chain, err := a.stateBefore(r, origin)
	if err != nil {
		return nil, err
	}
	return map[string]any{"pdu_ids": ids(state), "auth_chain_ids": ids(chain)}, nil
}

// authorities are the events of the state that others of it, or of the chain, name
// as their authority.
func authorities(state, chain []*storage.Event) []*storage.Event {
	named := map[string]bool{}
	for _, list := range [][]*storage.Event{state, chain} {
		for _, e := range list {
			for _, id := range roomserver.References(e, "auth_events") {
				named[id] = true
			}
		}
	}
	var list []*storage.Event
	for _, e := range state {
		if named[e.ID] || e.Type == "m.room.create" {
			list = append(list, e)
		}
	}
	return list
}

func ids(events []*storage.Event) []string {
	list := make([]string, 0, len(events))
	for _, e := range events {
		list = append(list, e.ID)
	}
	return list
}
