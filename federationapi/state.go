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
		a.signed("GET", "/state/{roomId}", a.inTurn(a.getState)),
	}
}

// stateBefore returns the event that the query names, the room's state before it, and
// the events that authorise that.
func (a *API) stateBefore(r *http.Request, origin string) (rm *room, e *storage.Event, state, chain []*storage.Event, err error) {
	ctx := r.Context()
	if rm, err = a.room(ctx, origin, httpapi.Var(r, "roomId")); err != nil {
		return nil, nil, nil, nil, err
	}
	if e, err = a.event(ctx, rm, one(r, "event_id")); err != nil {
		return nil, nil, nil, nil, err
	}
	if e.Flags&storage.Outlier != 0 || e.SnapshotNID == 0 && e.Type != "m.room.create" {
		return nil, nil, nil, nil, httpapi.NotFound("The state at this event isn't known here")
	}
	if e.Flags&storage.Presumed != 0 {
		return nil, nil, nil, nil, httpapi.Forbidden("This server doesn't know yet who was in the room at this event")
	}
	state, chain, err = a.stateOf(ctx, rm.View, e)
	return rm, e, state, chain, err
}

// getState is GET /state/{roomId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1stateroomid
func (a *API) getState(r *http.Request, origin string, _ json.RawMessage) (any, error) {
	rm, e, state, chain, err := a.stateBefore(r, origin)
	if err != nil {
		return nil, err
	}
	if !visible(rm, e) { // nor, then, what of the state it may not
		b, err := a.appendPDUs([]byte(`{"pdus":`), rm, state)
		if err != nil {
			return nil, err
		}
		b, err = a.appendPDUs(append(b, `,"auth_chain":`...), rm, chain)
		return httpapi.Raw(append(b, '}')), err
	}
	b := appendWhole([]byte(`{"pdus":`), state, ',')
	return httpapi.Raw(appendWhole(append(b, `"auth_chain":`...), chain, '}')), nil
}

// getStateIDs is GET /state_ids/{roomId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1state_idsroomid
func (a *API) getStateIDs(r *http.Request, origin string, _ json.RawMessage) (any, error) {
	_, _, state, chain, err := a.stateBefore(r, origin)
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
