package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

// maxServersInRoom bounds the servers that are believed to be in a room without its members
// being known.
const maxServersInRoom = 10_000

// handedOver is a room as another server tells it.
type handedOver struct {
	State   []json.RawMessage `json:"state"`
	Auth    []json.RawMessage `json:"auth_chain"`
	Event   json.RawMessage   `json:"event"`
	Omitted bool              `json:"members_omitted"`
	Servers []string          `json:"servers_in_room"`
}

// takeOver checks a room that was handed over, and keeps it. The members that it lacks are
// asked for from then on.
func (a *API) takeOver(ctx context.Context, server, roomID string, v gomatrixserverlib.RoomVersion, join gomatrixserverlib.PDU, answer []byte) error {
	var room handedOver
	if err := json.Unmarshal(answer, &room); err != nil {
		return badAnswer(server, "It isn't a room: %v", err)
	}
	if len(room.Event) > 0 { // with the signature of who authorised it
		signed, err := parseEvent(v, room.Event)
		if err != nil || signed.EventID() != join.EventID() {
			return badAnswer(server, "It answered another event than the one it was sent")
		}
		join = signed
	}
	imported, err := a.checkHandedOver(ctx, server, roomID, v, join, &room)
	if err != nil {
		return err
	}
	remote, err := a.rooms.Remote(ctx, roomID)
	if err != nil {
		return err
	}
	if !remote { // another user has come in meanwhile, and what happened since is known
		return refusal(a.takeWithAncestors(ctx, server, join))
	}
	if room.Omitted {
		imported.Partial = &storage.Partial{JoinID: join.EventID(), Via: server, Servers: a.serversInRoom(server, room.Servers),
			StartedAt: time.Now().UnixMilli()}
	}
	err = a.rooms.Import(ctx, *imported)
	if errors.Is(err, roomserver.ErrInRoom) {
		return refusal(a.takeWithAncestors(ctx, server, join))
	}
	if err != nil {
		return err
	}
	if room.Omitted {
		a.members.ask(roomID)
	}
	return nil
}

// serversInRoom are the servers that one says are in a room, itself among them, and this
// one not.
func (a *API) serversInRoom(server string, told []string) []string {
	list := []string{server}
	for _, name := range told {
		if _, _, ok := client.SplitServerName(name); ok && name != a.serverName && len(list) < maxServersInRoom {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// checkHandedOver keeps of a room what is authentic and allowed by the rules, and makes
// sure that they let the join in.
func (a *API) checkHandedOver(ctx context.Context, server, roomID string, v gomatrixserverlib.RoomVersion, join gomatrixserverlib.PDU, room *handedOver) (*roomserver.Import, error) {
	keys, err := a.gatherKeys(ctx, slices.Concat(room.State, room.Auth))
	if err != nil {
		return nil, err
	}
	state, auth := a.authenticOf(ctx, v, roomID, room.State, keys), a.authenticOf(ctx, v, roomID, room.Auth, keys)
	if err := onePerKey(state); err != nil {
		return nil, badAnswer(server, "The room isn't right: %v", err)
	}
	allowed, err := a.rooms.Authorised(ctx, v, slices.Concat(auth, state, []gomatrixserverlib.PDU{join}))
	if err != nil {
		return nil, err
	}
	denied := func(pdu gomatrixserverlib.PDU) bool { return allowed[pdu.EventID()] == nil || pdu.StateKey() == nil }
	state, auth = slices.DeleteFunc(state, denied), slices.DeleteFunc(auth, denied)
	if !madeWith(v, state) {
		return nil, badAnswer(server, "The room wasn't created with version %s", v)
	}
	if denied(join) {
		return nil, httpapi.Forbidden("What %s names to authorise the join doesn't", server)
	}
	if err := roomserver.AllowedIn(join, state, allowed); err != nil {
		return nil, err
	}
	return &roomserver.Import{RoomID: roomID, Version: v, Join: join, State: state, Auth: auth}, nil
}

// madeWith reports whether a room was created with the version.
func madeWith(v gomatrixserverlib.RoomVersion, state []gomatrixserverlib.PDU) bool {
	for _, pdu := range state {
		if pdu.Type() == "m.room.create" && pdu.StateKeyEquals("") {
			if named := gjson.GetBytes(pdu.Content(), "room_version"); named.Exists() {
				return named.Str == string(v)
			}
			return v == gomatrixserverlib.RoomVersionV1
		}
	}
	return false
}

// onePerKey refuses a state that says something twice.
func onePerKey(state []gomatrixserverlib.PDU) error {
	type key struct{ eventType, stateKey string }
	seen := make(map[key]bool, len(state))
	for _, pdu := range state {
		if pdu.StateKey() == nil {
			continue
		}
		k := key{pdu.Type(), *pdu.StateKey()}
		if seen[k] {
			return fmt.Errorf("its state has %s %q twice", k.eventType, k.stateKey)
		}
		seen[k] = true
	}
	return nil
}
