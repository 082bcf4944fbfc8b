package federationapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
	state = gomatrixserverlib.EventJSONs(wellFormedOf(room.State)).UntrustedEvents(v)
	chain = gomatrixserverlib.EventJSONs(wellFormedOf(room.Auth)).UntrustedEvents(v)
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
	bad := map[string]bool{}
	authentic := []gomatrixserverlib.PDU{join}
	for i, pdu := range all {
		if bad[pdu.EventID()] = verified[i] != nil; verified[i] == nil {
			authentic = append(authentic, pdu)
		}
	}
	maps.Copy(bad, roomserver.Unauthorised(authentic))
	isBad := func(pdu gomatrixserverlib.PDU) bool {
		if bad[pdu.EventID()] {
			a.log.Info("an event of a room that was handed over isn't good", "event", pdu.EventID())
		}
		return bad[pdu.EventID()]
	}
	state, chain = slices.DeleteFunc(state, isBad), slices.DeleteFunc(chain, isBad)
	if isBad(join) {
		return nil, nil, errors.New("the join isn't allowed by what it names")
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
