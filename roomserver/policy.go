package roomserver

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// PolicyServer is the server that a room's events are shown before they are sent. What it
// recommends it signs.
//
// https://spec.matrix.org/v1.19/server-server-api/#policy-servers
type PolicyServer struct {
	Via string
	key ed25519.PublicKey
}

// policyKeyID is the one name that the key of a policy server has.
const policyKeyID = "ed25519:policy_server"

// policyTuple is where a room names its policy server.
var policyTuple = storage.StateTuple{Type: "m.room.policy"}

// policyServer is the one of a room as it stands before the change, nil for none. For most rooms it costs
// one look at the state.
func (b *builder) policyServer() (*PolicyServer, error) {
	before := b.rm.head
	entry, ok := before.state.Get(policyTuple)
	if !ok || b.s.o.AskPolicyServer == nil {
		return nil, nil
	}
	e, err := b.s.event(b.ctx, entry.EventNID)
	if err != nil {
		return nil, err
	}
	p := parsePolicy(gjson.GetBytes(e.JSON, "content"))
	if p == nil {
		return nil, nil
	}
	if b.s.JoinedServers(&View{Room: before.row, State: before.state})[p.Via] == 0 { // it doesn't want to
		return nil, nil
	}
	return p, nil
}

// parsePolicy reads the content of an m.room.policy; nil for one that names no server.
func parsePolicy(content gjson.Result) *PolicyServer {
	via, key := content.Get("via"), content.Get("public_keys.ed25519")
	if via.Type != gjson.String || key.Type != gjson.String {
		return nil
	}
	p := &PolicyServer{Via: via.Str}
	// With a key that is none, nothing is ever recommended.
	if raw := fromBase64(key.Str); len(raw) == ed25519.PublicKeySize {
		p.key = raw
	}
	return p
}

// judges reports whether a policy server is asked about an event: not about what names it,
// so that a room can do without one that is gone.
func judges(eventType string, stateKey *string) bool {
	return eventType != policyTuple.Type || stateKey == nil || *stateKey != ""
}

// recommends reports whether the policy server has signed the event.
func (p *PolicyServer) recommends(v gomatrixserverlib.IRoomVersion, pdu gomatrixserverlib.PDU) bool {
	redacted, err := v.RedactEventJSON(pdu.JSON())
	return err == nil && p.key != nil && gomatrixserverlib.VerifyJSON(p.Via, policyKeyID, p.key, redacted) == nil
}

// Sign adds the signature that the policy server has given to an event. Errors are
// *httpapi.Error.
func (p *PolicyServer) Sign(pdu gomatrixserverlib.PDU, signature string) (gomatrixserverlib.PDU, error) {
	v, err := gomatrixserverlib.GetRoomVersion(pdu.Version())
	if err != nil {
		return nil, err
	}
	var event map[string]json.RawMessage
	var signatures map[string]map[string]json.RawMessage
	if err := json.Unmarshal(pdu.JSON(), &event); err != nil {
		return nil, fmt.Errorf("reading an event that a policy server signs: %w", err)
	}
	if err := json.Unmarshal(event["signatures"], &signatures); err != nil {
		return nil, httpapi.BadJSON("The event's signatures can't be read")
	}
	if signatures[p.Via] == nil {
		signatures[p.Via] = map[string]json.RawMessage{}
	}
	signatures[p.Via][policyKeyID], _ = json.Marshal(signature) // a string always marshals
	if event["signatures"], err = json.Marshal(signatures); err != nil {
		return nil, fmt.Errorf("writing an event that a policy server signs: %w", err)
	}
	text, err := json.Marshal(event)
	if err == nil {
		text, err = gomatrixserverlib.CanonicalJSON(text)
	}
	if err != nil {
		return nil, fmt.Errorf("writing an event that a policy server signs: %w", err)
	}
	if len(text) > maxEventBytes {
		return nil, httpapi.TooLarge("With the policy server's signature, the event is longer than %d bytes", maxEventBytes)
	}
	signed, err := v.NewEventFromTrustedJSONWithEventID(pdu.EventID(), text, false)
	if err != nil {
		return nil, fmt.Errorf("parsing an event that a policy server signed: %w", err)
	}
	if !p.recommends(v, signed) {
		return nil, httpapi.Forbidden("The policy server %s has signed with another key than the room names", p.Via)
	}
	return signed, nil
}

// askFirstError says that the policy server is to be asked about events before they are
// part of the room, which can't be while the room is locked.
type askFirstError struct {
	server    *PolicyServer
	events    []*storage.Event
	successor int64 // of the room
}

func (e *askFirstError) Error() string {
	return "the policy server " + e.server.Via + " is to be asked first"
}

// askFirst refuses to append what was built here before the room's policy server was asked.
func (b *builder) askFirst() error {
	if !b.built {
		return nil
	}
	p, err := b.policyServer()
	if p == nil || err != nil {
		return err
	}
	for _, e := range b.change.Events {
		if judges(e.Type, e.StateKey) {
			return &askFirstError{p, b.change.Events, b.change.SuccessorNID}
		}
	}
	return nil
}

// sendAsked takes events that were built here in like those of other servers: one after the
// other, each when the policy server has signed it. The room may have moved on meanwhile.
func (s *Server) sendAsked(ctx context.Context, rm *room, ask *askFirstError) error {
	for _, e := range ask.events {
		pdu, err := pduOf(rm.version, e)
		if err != nil {
			return err
		}
		err = s.receive(ctx, pdu, reception{passOn: true, own: e, successor: ask.successor})
		var refused *RefusedError
		if errors.As(err, &refused) {
			return refused.Err
		}
		if err != nil {
			return err
		}
		ask.successor = 0 // the first event, the tombstone, has brought it
	}
	return nil
}

// unwanted is why the room's policy server doesn't recommend an event, nil if it does or
// there is none. It returns *askFirstError if that isn't known yet.
func (b *builder) unwanted(pdu gomatrixserverlib.PDU, how reception) (*RefusedError, error) {
	if how.unwanted != nil {
		return &RefusedError{storage.SoftFailed, how.unwanted}, nil
	}
	p, err := b.policyServer()
	if p == nil || err != nil || !judges(pdu.Type(), pdu.StateKey()) || p.recommends(b.rm.version, pdu) {
		return nil, err
	}
	return nil, &askFirstError{server: p}
}

// Recommended returns an event of this server's that goes to another before it is part of
// the room, signed by the room's policy server if there is one.
func (s *Server) Recommended(ctx context.Context, pdu gomatrixserverlib.PDU) (gomatrixserverlib.PDU, error) {
	var ask *askFirstError
	err := s.change(ctx, pdu.RoomID().String(), func(b *builder) error {
		_, err := b.unwanted(pdu, reception{})
		return err
	})
	if errors.As(err, &ask) {
		return s.o.AskPolicyServer(ctx, ask.server, pdu)
	}
	return pdu, err
}
