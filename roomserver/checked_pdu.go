package roomserver

import (
	"slices"
	"unicode/utf8"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
)

const (
	// maxPrevEvents and maxAuthEvents bound what an event may refer to.
	//
	// https://spec.matrix.org/v1.19/server-server-api/#pdus
	maxPrevEvents = 20
	maxAuthEvents = 10
)

// checkPDU refuses an event of another server's that can't be stored, or would cost
// too much to judge. The library has checked its lengths, its hash and its form.
func checkPDU(pdu gomatrixserverlib.PDU) error {
	if err := checkReferences(pdu); err != nil {
		return err
	}
	return checkNames(pdu)
}

func checkReferences(pdu gomatrixserverlib.PDU) error {
	if n := len(pdu.PrevEventIDs()); n > maxPrevEvents {
		return httpapi.BadJSON("The event comes after %d others; %d is the most", n, maxPrevEvents)
	}
	if n := len(pdu.AuthEventIDs()); n > maxAuthEvents {
		return httpapi.BadJSON("The event names %d others as its authority; %d is the most", n, maxAuthEvents)
	}
	return nil
}

// checkNames is what checkPDU asks of events of a room's past too: there may be some from before
// what they may refer to was bounded.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1backfillroomid
func checkNames(pdu gomatrixserverlib.PDU) error {
	names := slices.Concat([]string{pdu.EventID(), pdu.Type(), string(pdu.SenderID()), stateKeyOf(pdu)}, pdu.PrevEventIDs(), pdu.AuthEventIDs())
	for _, name := range names {
		if !httpapi.IsText(name) {
			return httpapi.BadJSON("The event has a name with a character that can't be stored")
		}
	}
	if !utf8.Valid(pdu.JSON()) {
		return httpapi.BadJSON("The event isn't UTF-8")
	}
	return nil
}

func stateKeyOf(pdu gomatrixserverlib.PDU) string {
	if key := pdu.StateKey(); key != nil {
		return *key
	}
	return ""
}
