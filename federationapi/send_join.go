package federationapi

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

// putSendJoin is PUT /send_join/{roomId}/{eventId}.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
func (a *API) putSendJoin(r *http.Request, origin string, body json.RawMessage) (any, error) {
	v, err := a.wholeRoom(r.Context(), origin, httpapi.Var(r, "roomId"))
	if err != nil {
		return nil, err
	}
	pdu, err := a.sentMembership(r, origin, v, body, "join")
	if err != nil {
		return nil, err
	}
	if pdu, err = a.authoriseJoin(r.Context(), pdu); err != nil {
		return nil, err
	}
	if err := a.takeMembership(r.Context(), pdu); err != nil {
		return nil, err
	}
	e, err := a.rooms.EventByID(r.Context(), v.Room.ID, pdu.EventID())
	if err != nil {
		return nil, err
	}
	if one(r, "omit_members") == "true" {
		return a.handOverPart(r.Context(), v, e)
	}
	state, chain, err := a.stateOf(r.Context(), v, e)
	if err != nil {
		return nil, err
	}
	b := append([]byte(`{"origin":`), quoted(a.serverName)...)
	return appendHandedOver(append(b, `,"members_omitted":false`...), e, state, chain), nil
}

// appendHandedOver appends a room as it was before a join, and ends the answer.
func appendHandedOver(b []byte, join *storage.Event, state, chain []*storage.Event) httpapi.Raw {
	b = append(append(b, `,"event":`...), join.JSON...)
	b = appendWhole(append(b, `,"state":`...), state, ',')
	return httpapi.Raw(appendWhole(append(b, `"auth_chain":`...), chain, '}'))
}

// handOverPart hands over a room as it was before a join without its members, but for
// those that matter to the join or the room is named after. Nothing is told twice.
func (a *API) handOverPart(ctx context.Context, v *roomserver.View, join *storage.Event) (any, error) {
	before, err := a.db.StateAt(ctx, join.SnapshotNID)
	if err != nil {
		return nil, err
	}
	told := map[string]bool{*join.StateKey: true, gjson.GetBytes(join.JSON, "content."+roomserver.AuthorisedVia).Str: true}
	if v.Summary.Name == "" && v.Summary.CanonicalAlias == "" {
		for _, id := range (&roomserver.View{State: before}).Heroes(*join.StateKey) {
			told[id] = true
		}
	}
	var nids []int64
	for it := before.Iterator(); !it.Done(); {
		t, entry, _ := it.Next()
		if t.Type != "m.room.member" || told[t.StateKey] {
			nids = append(nids, entry.EventNID)
		}
	}
	state, err := a.rooms.EventList(ctx, nids)
	if err != nil {
		return nil, err
	}
	chain, err := a.rooms.AuthChainOf(ctx, v, append(slices.Clone(state), join))
	if err != nil {
		return nil, err
	}
	servers, err := a.rooms.JoinedServersBefore(ctx, join)
	if err != nil {
		return nil, err
	}
	list, err := json.Marshal(slices.Sorted(maps.Keys(servers)))
	if err != nil {
		return nil, err
	}
	b := append([]byte(`{"origin":`), quoted(a.serverName)...)
	b = append(append(b, `,"members_omitted":true,"servers_in_room":`...), list...)
	return appendHandedOver(b, join, state, chain), nil
}

// authoriseJoin signs a join that rests on a user of this server, once more making
// sure that the room's rules let the user in: nobody says that the event was made from
// this server's own template.
func (a *API) authoriseJoin(ctx context.Context, pdu gomatrixserverlib.PDU) (gomatrixserverlib.PDU, error) {
	via := gjson.GetBytes(pdu.Content(), roomserver.AuthorisedVia)
	if !via.Exists() {
		return pdu, nil
	}
	if !userid.IsLocal(via.Str, a.serverName) {
		return nil, httpapi.InvalidParam("The join isn't authorised by a user of this server")
	}
	sender := string(pdu.SenderID())
	if _, _, err := a.rooms.MembershipTemplate(ctx, roomserver.MembershipRequest{
		RoomID: pdu.RoomID().String(), Sender: sender, Target: sender, Membership: "join"}); err != nil {
		return nil, err
	}
	return a.rooms.CoSign(pdu), nil
}
