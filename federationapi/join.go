package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/spec"
	"github.com/tidwall/gjson"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/roomserver"
)

const (
	// maxCandidates bounds the servers that are asked to let a user in.
	maxCandidates = 8
	// maxJoinAnswer bounds a room's whole state, in bytes, and joinTimeout the wait
	// for it.
	maxJoinAnswer = 256 << 20
	joinTimeout   = 3 * time.Minute
)

// Join lets a user of this server into a room that others are in, by the first of
// the servers that does. Errors are *httpapi.Error: what the last server refused
// with, or M_UNKNOWN if none could be reached.
func (a *API) Join(ctx context.Context, roomID, userID string, via []string, content map[string]any) error {
	defer a.joining.begin(roomID)()
	var last error
	tried := map[string]bool{a.serverName: true, "": true}
	for _, server := range via {
		if tried[server] || len(tried) > maxCandidates+2 {
			continue
		}
		tried[server] = true
		if last = a.joinVia(ctx, server, roomID, userID, content); last == nil {
			return nil
		}
		a.log.Info("a join by another server failed", "room", roomID, "server", server, "err", last)
		if ctx.Err() != nil {
			break
		}
	}
	if last == nil {
		return httpapi.NotFound("No server is known that is in this room")
	}
	return remoteError(last, "The room can't be joined: no other server let us in")
}

// remoteError is what the client is told of what other servers refused or couldn't
// be asked.
func remoteError(err error, otherwise string) error {
	var remote *client.RemoteError
	if errors.As(err, &remote) && remote.Status < 500 && remote.Code != "" {
		return httpapi.New(remote.Status, remote.Code, "%s: %s", remote.Server, remote.Message)
	}
	var own *httpapi.Error
	if errors.As(err, &own) {
		return own
	}
	e := httpapi.New(http.StatusBadGateway, "M_UNKNOWN", "%s", otherwise)
	e.Err = err
	return e
}

func (a *API) joinVia(ctx context.Context, server, roomID, userID string, content map[string]any) error {
	query := url.Values{}
	for v := range gomatrixserverlib.StableRoomVersions() {
		query.Add("ver", string(v))
	}
	var made struct {
		Version gomatrixserverlib.RoomVersion `json:"room_version"`
		Event   gomatrixserverlib.ProtoEvent  `json:"event"`
	}
	uri := client.Path("/_matrix/federation/v1/make_join", roomID, userID) + "?" + query.Encode()
	if err := a.client.Get(ctx, server, uri, &made); err != nil {
		return err
	}
	if made.Version == "" {
		made.Version = "1"
	}
	if err := checkTemplate(&made.Event, roomID, userID, content); err != nil {
		return err
	}
	pdu, err := a.rooms.SignTemplate(made.Version, &made.Event)
	if err != nil {
		return err
	}
	answer, err := a.client.Do(ctx, client.Request{Method: http.MethodPut, Server: server, Body: json.RawMessage(pdu.JSON()),
		URI: client.Path("/_matrix/federation/v2/send_join", roomID, pdu.EventID()), MaxAnswer: maxJoinAnswer, Timeout: joinTimeout})
	if err != nil {
		return err
	}
	return a.takeOver(ctx, server, roomID, made.Version, pdu, answer)
}

// checkTemplate makes sure that what another server wants signed is what was asked
// for, and puts the user's own content into it: only who authorises a restricted
// join is the other server's to say.
func checkTemplate(p *gomatrixserverlib.ProtoEvent, roomID, userID string, content map[string]any) error {
	given := gjson.ParseBytes(p.Content)
	if p.Type != "m.room.member" || p.SenderID != userID || p.StateKey == nil || *p.StateKey != userID || p.RoomID != roomID ||
		given.Get("membership").Str != content["membership"] || p.Redacts != "" {
		return httpapi.Forbidden("The other server wants something else signed than was asked for")
	}
	own := map[string]any{}
	for k, v := range content {
		own[k] = v
	}
	if via := given.Get("join_authorised_via_users_server").Str; via != "" {
		own["join_authorised_via_users_server"] = via
	}
	raw, err := json.Marshal(own)
	if err != nil {
		return fmt.Errorf("encoding a membership: %w", err)
	}
	p.Content, p.Unsigned, p.Signature = raw, nil, nil
	return nil
}

// handedOver is a room as another server tells it; it is a
// gomatrixserverlib.StateResponse.
type handedOver struct {
	State gomatrixserverlib.EventJSONs `json:"state"`
	Auth  gomatrixserverlib.EventJSONs `json:"auth_chain"`
	Event spec.RawJSON                 `json:"event"`
}

func (h *handedOver) GetStateEvents() gomatrixserverlib.EventJSONs { return h.State }
func (h *handedOver) GetAuthEvents() gomatrixserverlib.EventJSONs  { return h.Auth }

// takeOver checks a room that was handed over, and keeps it.
func (a *API) takeOver(ctx context.Context, server, roomID string, v gomatrixserverlib.RoomVersion, join gomatrixserverlib.PDU, answer []byte) error {
	var room handedOver
	if err := json.Unmarshal(answer, &room); err != nil {
		return fmt.Errorf("the answer of %s isn't a room: %w", server, err)
	}
	version, err := gomatrixserverlib.GetRoomVersion(v)
	if err != nil {
		return err
	}
	if len(room.Event) > 0 { // with the signature of who authorised it
		signed, err := version.NewEventFromUntrustedJSON(room.Event)
		if err != nil || signed.EventID() != join.EventID() {
			return fmt.Errorf("%s answered another event than the one it was sent (%w)", server, err)
		}
		join = signed
	}
	checked, err := gomatrixserverlib.CheckSendJoinResponse(ctx, v, &room, a.client.Keys, join, noMoreEvents, userIDForSender)
	if err != nil {
		return fmt.Errorf("the room that %s handed over isn't right: %w", server, err)
	}
	state := checked.GetStateEvents().TrustedEvents(v, false)
	for _, pdu := range state {
		if pdu.RoomID().String() != roomID {
			return fmt.Errorf("the room that %s handed over has an event of another room", server)
		}
	}
	if !slices.ContainsFunc(state, func(p gomatrixserverlib.PDU) bool { return p.Type() == "m.room.create" }) {
		return fmt.Errorf("the room that %s handed over was never created", server)
	}
	return a.rooms.Import(ctx, roomserver.Import{RoomID: roomID, Version: v, Join: join, State: state,
		Auth: checked.GetAuthEvents().TrustedEvents(v, false)})
}

// ResolveAlias asks an alias's own server for the room that it stands for, and for
// servers that are in it.
func (a *API) ResolveAlias(ctx context.Context, alias string) (roomID string, servers []string, err error) {
	var answer struct {
		RoomID  string   `json:"room_id"`
		Servers []string `json:"servers"`
	}
	server := domainOf(alias)
	err = a.client.Get(ctx, server, "/_matrix/federation/v1/query/directory?room_alias="+url.QueryEscape(alias), &answer)
	if err != nil {
		return "", nil, remoteError(err, "The alias's server can't be asked")
	}
	if len(answer.RoomID) < 2 || answer.RoomID[0] != '!' || len(answer.RoomID) > maxID {
		return "", nil, httpapi.NotFound("There is no room %s", alias)
	}
	return answer.RoomID, append(answer.Servers[:min(len(answer.Servers), maxCandidates)], server), nil
}

// noMoreEvents says that what a server left out of its answer isn't asked for.
func noMoreEvents(gomatrixserverlib.RoomVersion, []string) ([]gomatrixserverlib.PDU, error) {
	return nil, nil
}
