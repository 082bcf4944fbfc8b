package federationapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/federationapi/client"
	"hearth/roomserver"
)

const (
	// maxStateAnswer bounds a room's whole state, or the ids of its events.
	maxStateAnswer = 128 << 20
	// stateChunk is how many events of a state are verified and stored at a time.
	stateChunk = 500
)

// fetchStateBefore asks a server for the state before an event, stores what isn't known
// of it, and returns the ids of its events.
func (a *API) fetchStateBefore(ctx context.Context, server string, v *roomserver.View, eventID string) ([]string, error) {
	query := "?event_id=" + url.QueryEscape(eventID)
	answer, err := a.client.Do(ctx, client.Request{Method: http.MethodGet, Server: server, MaxAnswer: maxStateAnswer, Timeout: joinTimeout,
		URI: client.Path("/_matrix/federation/v1/state_ids", v.Room.ID) + query})
	if err != nil {
		return nil, err
	}
	var ids struct {
		State []string `json:"pdu_ids"`
		Auth  []string `json:"auth_chain_ids"`
	}
	if err := json.Unmarshal(answer, &ids); err != nil || len(ids.State) == 0 {
		return nil, badAnswer(server, "The state has no events")
	}
	unknown, err := a.rooms.UnknownEvents(ctx, v, slices.Concat(ids.Auth, ids.State))
	if err != nil {
		return nil, err
	}
	if len(unknown) > maxSingleEvents {
		return ids.State, a.fetchWholeState(ctx, server, v, query)
	}
	return ids.State, a.addUnknown(ctx, server, v, unknown)
}

// fetchWholeState asks a server for all events of a state, and stores those that aren't
// known.
func (a *API) fetchWholeState(ctx context.Context, server string, v *roomserver.View, query string) error {
	answer, err := a.client.Do(ctx, client.Request{Method: http.MethodGet, Server: server, MaxAnswer: maxStateAnswer, Timeout: joinTimeout,
		URI: client.Path("/_matrix/federation/v1/state", v.Room.ID) + query})
	if err != nil {
		return err
	}
	texts, ok := eventTexts(answer)
	if !ok {
		return badAnswer(server, "The state isn't one")
	}
	// What authorises an event has less depth.
	depths := make(map[*byte]int64, len(texts))
	for _, text := range texts {
		depths[&text[0]] = gjson.GetBytes(text, "depth").Int()
	}
	slices.SortStableFunc(texts, func(x, y json.RawMessage) int { return int(depths[&x[0]] - depths[&y[0]]) })
	keys, err := a.gatherKeys(ctx, texts)
	if err != nil {
		return err
	}
	version := gomatrixserverlib.RoomVersion(v.Room.RoomVersion)
	for some := range slices.Chunk(texts, stateChunk) {
		if err := a.rooms.AddOutliers(ctx, v.Room.ID, a.authenticOf(ctx, version, v.Room.ID, some, keys)); err != nil {
			return err
		}
	}
	return nil
}

// eventTexts are the events of an answer that holds a state, and what authorises it.
func eventTexts(answer []byte) (texts []json.RawMessage, ok bool) {
	if !gjson.ValidBytes(answer) {
		return nil, false
	}
	for _, list := range []gjson.Result{gjson.GetBytes(answer, "auth_chain"), gjson.GetBytes(answer, "pdus")} {
		if !list.IsArray() {
			return nil, false
		}
		list.ForEach(func(_, e gjson.Result) bool {
			if e.IsObject() {
				texts = append(texts, json.RawMessage(e.Raw))
			}
			return true
		})
	}
	return texts, true
}

// fetchStateAfter asks a server for the state after an event that isn't known, and stores
// what isn't known of it.
func (a *API) fetchStateAfter(ctx context.Context, server string, v *roomserver.View, eventID string) (roomserver.Told, error) {
	told := roomserver.Told{After: eventID}
	unknown, err := a.rooms.UnknownEvents(ctx, v, []string{eventID})
	if err != nil {
		return told, err
	}
	if told.State, err = a.fetchStateBefore(ctx, server, v, eventID); err != nil || len(unknown) == 0 {
		return told, err
	}
	found := a.fetchEvents(ctx, server, v, unknown)
	if len(found) == 0 {
		return told, badAnswer(server, "It doesn't have %s", eventID)
	}
	if found[0].StateKey() == nil {
		return told, nil
	}
	missing, err := a.rooms.UnknownEvents(ctx, v, found[0].AuthEventIDs())
	if err != nil {
		return told, err
	}
	if err := a.addUnknown(ctx, server, v, missing); err != nil {
		return told, err
	}
	return told, a.rooms.AddOutliers(ctx, v.Room.ID, found)
}
