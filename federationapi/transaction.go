package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"runtime"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

func (a *API) transactionRoutes() []httpapi.Route {
	route := a.signed("PUT", "/send/{txnId}", a.putTransaction)
	route.MaxBody = maxTransactionBody
	return []httpapi.Route{route}
}

const (
	// maxPDUs and maxEDUs bound a transaction.
	//
	// https://spec.matrix.org/v1.19/server-server-api/#transactions
	maxPDUs = 50
	maxEDUs = 100
	// maxTransactionBody bounds a transaction in bytes: as many of the largest events.
	maxTransactionBody = 10 << 20
	// maxTransactionTime bounds the work on one transaction: what it lacks is asked for
	// over the network.
	maxTransactionTime = 5 * time.Minute
)

// putTransaction is PUT /send/{txnId}. Each event is judged alone. A repeated
// transaction has no effect, since known events are left as they are.
//
// https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid
func (a *API) putTransaction(r *http.Request, origin string, body json.RawMessage) (any, error) {
	var txn struct {
		PDUs []json.RawMessage `json:"pdus"`
		EDUs []json.RawMessage `json:"edus"`
	}
	if err := decode(body, &txn); err != nil {
		return nil, err
	}
	if len(txn.PDUs) > maxPDUs || len(txn.EDUs) > maxEDUs {
		return nil, httpapi.InvalidParam("A transaction has at most %d PDUs and %d EDUs", maxPDUs, maxEDUs)
	}
	type result struct {
		Error string `json:"error,omitempty"`
	}
	results := map[string]result{}
	// What has begun is finished even if the other server no longer waits for it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), maxTransactionTime)
	defer cancel()
	end, err := a.receiving.begin(ctx, origin)
	if err != nil {
		return nil, err
	}
	defer end()
	if err := a.takeEDUs(ctx, origin, txn.EDUs, true); err != nil {
		return nil, err
	}
	pdus, errs := make([]gomatrixserverlib.PDU, len(txn.PDUs)), make([]error, len(txn.PDUs))
	parallel(runtime.GOMAXPROCS(0), len(pdus), func(i int) { pdus[i], errs[i] = a.parseSent(ctx, origin, txn.PDUs[i]) })
	if err := a.verifyEvents(ctx, pdus, errs, nil); err != nil {
		return nil, err
	}
	for i, pdu := range pdus {
		err := a.takeSent(ctx, origin, txn.PDUs[i], pdu, errs[i])
		if isOwnTrouble(err) && ctx.Err() == nil { // what takes too long once does so again
			return nil, err // what was taken in already is known when all of it comes again
		}
		if pdu == nil {
			continue // what has no id can't be answered for
		}
		var res result
		if err != nil {
			if !a.presumed(ctx, pdu, err) {
				res.Error = reason(err)
			}
			a.log.Info("an event of another server was refused", "origin", origin, "event", pdu.EventID(), "err", err)
		}
		results[pdu.EventID()] = res
	}
	if err := a.takeEDUs(ctx, origin, txn.EDUs, false); err != nil {
		return nil, err
	}
	return map[string]any{"pdus": results}, nil
}

// takeSent takes in an event that a server sent, unless that was refused by the first checks.
// Without the event, it may be one that ends somebody's knock or invitation to a room that
// this server isn't in.
func (a *API) takeSent(ctx context.Context, origin string, text json.RawMessage, pdu gomatrixserverlib.PDU, refused error) error {
	if pdu != nil && refused == nil {
		return a.takeWithAncestors(ctx, origin, pdu)
	}
	if pdu != nil || isOwnTrouble(refused) {
		return refused
	}
	err := a.takeNoted(ctx, origin, text)
	if err != nil {
		a.log.Debug("an event of no room here was refused", "origin", origin, "err", err)
	}
	return err
}

// isOwnTrouble reports whether an event wasn't taken in for want of something here. An answer
// would have the other server believe that it was judged, and not send it again. What can't be
// stored for what is in it couldn't be then either.
func isOwnTrouble(err error) bool {
	var own *httpapi.Error
	if errors.As(err, &own) {
		return own.Status == http.StatusServiceUnavailable && (own.Err == nil || storage.IsOutage(own.Err))
	}
	var refused *client.RemoteError
	var unreachable *client.UnreachableError
	return !errors.As(err, &refused) && !errors.As(err, &unreachable) && storage.IsOutage(err)
}

// presumed reports whether an event was refused without knowing who is in the room: then
// that isn't the last word.
func (a *API) presumed(ctx context.Context, pdu gomatrixserverlib.PDU, why error) bool {
	var refused *roomserver.RefusedError
	if !errors.As(why, &refused) {
		return false
	}
	v, err := a.rooms.View(ctx, pdu.RoomID().String())
	return err == nil && v.Room.IsPartial()
}

// reason is what another server is told of an event that wasn't taken in.
func reason(err error) string {
	var e *httpapi.Error
	var refused *roomserver.RefusedError
	var missing *roomserver.MissingEventsError
	switch {
	case errors.As(err, &refused):
		return "refused: " + refused.Error()
	case errors.As(err, &e):
		return e.Message
	case errors.As(err, &missing):
		return "it refers to events that can't be had"
	}
	return "it could not be taken in"
}

// parseSent parses an event that a server sent, and makes sure that it may send it. Without the
// event it was none, or of no room here: its id depends on the room's version.
func (a *API) parseSent(ctx context.Context, origin string, text json.RawMessage) (gomatrixserverlib.PDU, error) {
	roomID := gjson.GetBytes(text, "room_id").Str
	v, allowed := a.joinedRoom(ctx, origin, roomID)
	if v == nil {
		return nil, allowed
	}
	pdu, err := parseEvent(gomatrixserverlib.RoomVersion(v.Room.RoomVersion), text)
	if err != nil {
		return nil, err
	}
	return pdu, allowed
}

// maxJoinWait is how long what is sent of a room waits for a join of it that is going on: no
// longer than the other server waits for an answer.
const maxJoinWait = 30 * time.Second

// joinedRoom is residentRoom, after a join of the room that is going on.
func (a *API) joinedRoom(ctx context.Context, origin, roomID string) (*roomserver.View, error) {
	joined := a.joining.watch(roomID)
	v, err := a.residentRoom(ctx, origin, roomID)
	if httpapi.CodeOf(err) != "M_NOT_FOUND" {
		return v, err
	}
	waiting, cancel := context.WithTimeout(ctx, maxJoinWait)
	defer cancel()
	if !joined(waiting) {
		return nil, err
	}
	return a.residentRoom(ctx, origin, roomID)
}

// parseEvent parses an event of a room of a version.
func parseEvent(v gomatrixserverlib.RoomVersion, text json.RawMessage) (pdu gomatrixserverlib.PDU, err error) {
	version, err := gomatrixserverlib.GetRoomVersion(v)
	if err != nil || !version.Stable() {
		e := httpapi.New(http.StatusBadRequest, "M_INCOMPATIBLE_ROOM_VERSION", "Room version %q isn't supported", v)
		e.Extra = map[string]any{"room_version": v}
		return nil, e
	}
	if err := wellFormed(text); err != nil {
		return nil, err
	}
	defer func() { // the library panics over what it can't redact
		if cause := recover(); cause != nil {
			pdu, err = nil, httpapi.BadJSON("The event isn't valid: %v", cause)
		}
	}()
	pdu, err = version.NewEventFromUntrustedJSON(text)
	var long gomatrixserverlib.EventValidationError
	if errors.As(err, &long) && long.Persistable {
		err = nil // 255 characters, not bytes, were the limit in the first room versions
	}
	if err != nil {
		return nil, httpapi.BadJSON("The event isn't valid: %v", err)
	}
	pdu.EventID() // is made of its redacted form, once for all
	return pdu, nil
}
