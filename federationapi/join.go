package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
)

const (
	// maxCandidates bounds the servers that are asked to let a user in.
	maxCandidates = 8
	// maxJoinAnswer bounds a room's whole state, in bytes, and joinTimeout the wait
	// for it.
	maxJoinAnswer = 256 << 20
	joinTimeout   = 3 * time.Minute
	// maxJoins bounds the rooms that are handed over at the same time.
	maxJoins = 4
	// maxFinishing bounds the work on what another server was asked to do.
	maxFinishing = 10 * time.Minute
)

// finishing is for what is finished, once another server has been asked to do it, even if the user no longer
// waits: otherwise the two would be of two minds.
func finishing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), maxFinishing)
}

// Join lets a user of this server into a room that others are in, by the first of
// the servers that does. Errors are as of client.AsClientError.
func (a *API) Join(ctx context.Context, roomID, userID string, via []string, content map[string]any) error {
	defer a.joining.begin(roomID)()
	return a.tryAll(ctx, via, func(server string) error { return a.joinVia(ctx, server, roomID, userID, content) })
}

// tryAll tries servers in a room, one after the other, until one does what it is asked. If
// none does, the refusal of one that knows the room tells most.
func (a *API) tryAll(ctx context.Context, via []string, ask func(server string) error) error {
	var last error
	tried := map[string]bool{a.serverName: true, "": true}
	for _, server := range via {
		if tried[server] || len(tried) > maxCandidates+2 {
			continue
		}
		tried[server] = true
		err := ask(server)
		if err == nil {
			return nil
		}
		a.log.Info("a room can't be entered by way of a server", "server", server, "err", err)
		var refused *client.RemoteError
		if last == nil || errors.As(err, &refused) && refused.Status != http.StatusNotFound {
			last = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	if last == nil {
		return httpapi.NotFound("No server is known that is in this room")
	}
	return asEntryError(last)
}

// asEntryError is client.AsClientError for what has a user enter, or leave, a room. If a server finds fault
// with what this one sent, that is no fault of the user's.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv2send_joinroomideventid
func asEntryError(err error) error {
	var refused *client.RemoteError
	if errors.As(err, &refused) && (refused.Code == "M_MISSING_PARAM" || refused.Code == "M_INVALID_PARAM") {
		own := *refused
		own.Code = ""
		err = &own
	}
	return client.AsClientError(err)
}

// badAnswer is the result of an answer that isn't what it should be.
func badAnswer(server, format string, args ...any) error {
	return &client.RemoteError{Server: server, Status: http.StatusOK, Code: "M_BAD_JSON", Message: fmt.Sprintf(format, args...)}
}

// knownVersions is the query that names the room versions that this server can be in.
func knownVersions() string {
	query := url.Values{}
	for v := range gomatrixserverlib.StableRoomVersions() {
		query.Add("ver", string(v))
	}
	return "?" + query.Encode()
}

func (a *API) joinVia(ctx context.Context, server, roomID, userID string, content map[string]any) error {
	version, pdu, err := a.askToEnter(ctx, server, "make_join", roomID, userID, content)
	if err != nil {
		return err
	}
	select {
	case a.joins <- struct{}{}:
		defer func() { <-a.joins }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := finishing(ctx)
	defer cancel()
	answer, err := a.client.Do(ctx, client.Request{Method: http.MethodPut, Server: server, Body: json.RawMessage(pdu.JSON()),
		URI:       client.Path("/_matrix/federation/v2/send_join", roomID, pdu.EventID()) + "?omit_members=true",
		MaxAnswer: maxJoinAnswer, Timeout: joinTimeout})
	if err != nil {
		return err
	}
	return a.takeOver(ctx, server, roomID, version, pdu, answer)
}

// template is a membership event that another server would take.
type template struct {
	Version gomatrixserverlib.RoomVersion `json:"room_version"`
	Event   gomatrixserverlib.ProtoEvent  `json:"event"`
}

// askToEnter asks another server for the event by which a user enters a room, or asks to,
// and signs it.
func (a *API) askToEnter(ctx context.Context, server, endpoint, roomID, userID string, content map[string]any) (gomatrixserverlib.RoomVersion, gomatrixserverlib.PDU, error) {
	uri := client.Path("/_matrix/federation/v1/"+endpoint, roomID, userID) + knownVersions()
	made, err := a.askTemplate(ctx, server, uri, roomID, userID, content)
	if err != nil {
		return "", nil, err
	}
	pdu, err := a.rooms.SignTemplate(made.Version, &made.Event)
	return made.Version, pdu, err
}

// askTemplate asks another server for a membership event to sign, and checks it.
func (a *API) askTemplate(ctx context.Context, server, uri, roomID, userID string, content map[string]any) (*template, error) {
	made := template{Version: gomatrixserverlib.RoomVersionV1}
	if err := a.client.Get(ctx, server, uri, &made); err != nil {
		return nil, err
	}
	return &made, checkTemplate(&made.Event, roomID, userID, content)
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
	if via := given.Get(roomserver.AuthorisedVia).Str; via != "" && content["membership"] == "join" {
		own[roomserver.AuthorisedVia] = via
	}
	raw, err := json.Marshal(own)
	if err != nil {
		return fmt.Errorf("encoding a membership: %w", err)
	}
	p.Content, p.Unsigned, p.Signature = raw, nil, nil
	return nil
}

// ResolveAlias asks an alias's own server for the room that it stands for, and for
// servers that are in it.
func (a *API) ResolveAlias(ctx context.Context, alias string) (roomID string, servers []string, err error) {
	var answer struct {
		RoomID  string   `json:"room_id"`
		Servers []string `json:"servers"`
	}
	server := userid.Domain(alias)
	err = a.client.Get(ctx, server, "/_matrix/federation/v1/query/directory?room_alias="+url.QueryEscape(alias), &answer)
	if err != nil {
		return "", nil, client.AsClientError(err)
	}
	if len(answer.RoomID) < 2 || answer.RoomID[0] != '!' || len(answer.RoomID) > maxID {
		return "", nil, httpapi.NotFound("There is no room %s", alias)
	}
	return answer.RoomID, append(answer.Servers[:min(len(answer.Servers), maxCandidates)], server), nil
}
