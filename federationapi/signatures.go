package federationapi

import (
	"context"
	"encoding/json"
	"runtime"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/spec"
	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
)

// verifyEvent verifies an event's signatures.
//
// https://spec.matrix.org/v1.19/server-server-api/#validating-hashes-and-signatures-on-received-events
func (a *API) verifyEvent(ctx context.Context, pdu gomatrixserverlib.PDU) error {
	requests, err := signaturesOf(pdu, unneeded(pdu))
	if err != nil {
		return err
	}
	return verifyWith(ctx, a.client.Keys, requests)
}

// verifyAgreed is verifyEvent for an invitation to which the server of who is invited must have
// agreed.
func (a *API) verifyAgreed(ctx context.Context, pdu gomatrixserverlib.PDU) error {
	requests, err := signaturesOf(pdu, "")
	if err != nil {
		return err
	}
	return verifyWith(ctx, a.client.Keys, requests)
}

// verifyOffered is verifyEvent for an invitation that this server is asked to sign: its own signature
// is still to come, unless it is to have made the event.
func (a *API) verifyOffered(ctx context.Context, pdu gomatrixserverlib.PDU) error {
	without := a.serverName
	if userid.Domain(pdu.EventID()) == a.serverName {
		without = ""
	}
	requests, err := signaturesOf(pdu, without)
	if err != nil {
		return err
	}
	return verifyWith(ctx, a.client.Keys, requests)
}

// verifyEvents is verifyEvent for many, on all cores, with the keys of all their servers fetched at
// once: of those that are gone each is waited for. What isn't an event has the error of that.
// keys, unless nil, are those that were fetched before.
func (a *API) verifyEvents(ctx context.Context, pdus []gomatrixserverlib.PDU, errs []error, keys gomatrixserverlib.JSONVerifier) error {
	requests := make([][]gomatrixserverlib.VerifyJSONRequest, len(pdus))
	parallel(runtime.GOMAXPROCS(0), len(pdus), func(i int) {
		if errs[i] == nil {
			requests[i], errs[i] = signaturesOf(pdus[i], unneeded(pdus[i]))
		}
	})
	if keys == nil {
		var all []gomatrixserverlib.VerifyJSONRequest
		for _, some := range requests {
			all = append(all, some...)
		}
		var err error
		if keys, err = a.client.Keys.Gather(ctx, all); err != nil {
			return err
		}
	}
	parallel(runtime.GOMAXPROCS(0), len(pdus), func(i int) {
		if errs[i] == nil {
			errs[i] = verifyWith(ctx, keys, requests[i])
		}
	})
	return nil
}

// gatherKeys fetches the keys by which the events of a room are signed, before they are looked at
// one after the other.
func (a *API) gatherKeys(ctx context.Context, texts []json.RawMessage) (gomatrixserverlib.JSONVerifier, error) {
	var all []gomatrixserverlib.VerifyJSONRequest
	for _, text := range texts {
		at := spec.Timestamp(max(0, gjson.GetBytes(text, "origin_server_ts").Int()))
		signers := map[string]bool{}
		for _, member := range []string{"sender", "event_id", "content." + roomserver.AuthorisedVia} {
			signers[userid.Domain(gjson.GetBytes(text, member).Str)] = true
		}
		for server := range signers {
			all = append(all, gomatrixserverlib.VerifyJSONRequest{ServerName: spec.ServerName(server), Message: text, AtTS: at})
		}
	}
	return a.client.Keys.Gather(ctx, all)
}

func verifyWith(ctx context.Context, keys gomatrixserverlib.JSONVerifier, requests []gomatrixserverlib.VerifyJSONRequest) error {
	results, err := keys.VerifyJSONs(ctx, requests)
	if err != nil {
		return notAuthentic(err)
	}
	for _, r := range results {
		if r.Error != nil {
			return notAuthentic(r.Error)
		}
	}
	return nil
}

func notAuthentic(why error) error {
	e := httpapi.InvalidParam("The event's signatures can't be verified: %v", why)
	e.Err = why
	return e
}

// signaturesOf are the signatures that an event must have, without that of one server, unless
// that is "".
func signaturesOf(pdu gomatrixserverlib.PDU, without string) ([]gomatrixserverlib.VerifyJSONRequest, error) {
	c := &collector{without: without}
	err := gomatrixserverlib.VerifyEventSignatures(context.Background(), pdu, c, func(_ spec.RoomID, sender spec.SenderID) (*spec.UserID, error) {
		return spec.NewUserID(string(sender), true)
	})
	if err != nil {
		return nil, notAuthentic(err)
	}
	return c.requests, nil
}

// collector is a gomatrixserverlib.JSONVerifier that notes what the library wants verified.
type collector struct {
	without  string
	requests []gomatrixserverlib.VerifyJSONRequest
}

func (c *collector) VerifyJSONs(_ context.Context, requests []gomatrixserverlib.VerifyJSONRequest) ([]gomatrixserverlib.VerifyJSONResult, error) {
	for _, r := range requests {
		if string(r.ServerName) != c.without || c.without == "" {
			c.requests = append(c.requests, r)
		}
	}
	return make([]gomatrixserverlib.VerifyJSONResult, len(requests)), nil
}

// unneeded is the server whose signature an invitation does without, though the library asks for
// it, "" for none. That the server of who is invited has agreed is the business of the one that
// invites. An invitation that takes the place of one to an address may be sent by
// others than its sender's server.
func unneeded(pdu gomatrixserverlib.PDU) string {
	if pdu.Type() != "m.room.member" || pdu.StateKey() == nil || gjson.GetBytes(pdu.Content(), "membership").Str != "invite" {
		return ""
	}
	sender, target := userid.Domain(string(pdu.SenderID())), userid.Domain(*pdu.StateKey())
	switch {
	case target == sender:
		return ""
	case roomserver.IsThirdPartyInvite(pdu):
		return sender
	case userid.Domain(pdu.EventID()) == target: // it has made the event, as in the first room versions
		return ""
	}
	return target
}
