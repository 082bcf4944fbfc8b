package federationapi

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/spec"

	"hearth/roomserver"
)

// handedOver is a room as another server tells it.
type handedOver struct {
	State gomatrixserverlib.EventJSONs `json:"state"`
	Auth  gomatrixserverlib.EventJSONs `json:"auth_chain"`
	Event spec.RawJSON                 `json:"event"`
}

// checkHandedOver checks a room's state and what authorises it, and whether these let the
// join in. Events whose signatures or authority are no good are left out.
func (a *API) checkHandedOver(ctx context.Context, v gomatrixserverlib.RoomVersion, room *handedOver, join gomatrixserverlib.PDU) (state, chain []gomatrixserverlib.PDU, err error) {
	state, chain = room.State.UntrustedEvents(v), room.Auth.UntrustedEvents(v)
	if err := onePerKey(state); err != nil {
		return nil, nil, err
	}
	all := append(slices.Clone(state), chain...)
	verified := make([]error, len(all))
	parallel(runtime.GOMAXPROCS(0), len(all), func(i int) {
		if all[i].StateKey() == nil {
			verified[i] = errors.New("it is no state event")
			return
		}
		verified[i] = a.verifyEvent(ctx, all[i])
	})
	known := make(map[string]gomatrixserverlib.PDU, len(all))
	bad := map[string]bool{}
	for i, pdu := range all {
		if verified[i] != nil {
			a.log.Info("an event of a room that was handed over isn't good", "event", pdu.EventID(), "err", verified[i])
			bad[pdu.EventID()] = true
			continue
		}
		known[pdu.EventID()] = pdu
	}
	for _, pdu := range all {
		if err := authorisedByNamed(pdu, known); err != nil && !bad[pdu.EventID()] {
			a.log.Info("an event of a room that was handed over isn't allowed", "event", pdu.EventID(), "err", err)
			bad[pdu.EventID()] = true
		}
	}
	isBad := func(pdu gomatrixserverlib.PDU) bool { return bad[pdu.EventID()] }
	state, chain = slices.DeleteFunc(state, isBad), slices.DeleteFunc(chain, isBad)
	if err := authorisedByNamed(join, known); err != nil {
		return nil, nil, fmt.Errorf("the join isn't allowed by what it names: %w", err)
	}
	if err := roomserver.Authorise(join, state); err != nil {
		return nil, nil, fmt.Errorf("the join isn't allowed by the room's state: %w", err)
	}
	return state, chain, nil
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

// authorisedByNamed applies the rules by those events that are named as the authority, as
// far as they are known.
func authorisedByNamed(pdu gomatrixserverlib.PDU, known map[string]gomatrixserverlib.PDU) error {
	var by []gomatrixserverlib.PDU
	for _, id := range pdu.AuthEventIDs() {
		if named := known[id]; named != nil {
			by = append(by, named)
		}
	}
	return roomserver.Authorise(pdu, by)
}
