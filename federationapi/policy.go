package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/roomserver"
)

// policyRoutes answer for this server, which is no policy server.
func (a *API) policyRoutes() []httpapi.Route {
	return []httpapi.Route{a.signed("POST", "/sign", postSign)}
}

// postSign is POST /_matrix/policy/v1/sign.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixpolicyv1sign
func postSign(*http.Request, string, json.RawMessage) (any, error) {
	return nil, httpapi.New(http.StatusNotFound, "M_UNRECOGNIZED", "This server is no policy server")
}

const (
	// policyTimeout bounds how long a room's policy server may think about an event, for
	// which a client or another server waits.
	policyTimeout = 10 * time.Second
	// maxPolicyAnswer bounds its answer in bytes.
	maxPolicyAnswer = 64 << 10
)

// AskPolicyServer has a room's policy server sign an event.
//
// https://spec.matrix.org/v1.19/server-server-api/#asking-for-a-policy-server-signature-on-an-event
func (a *API) AskPolicyServer(ctx context.Context, p *roomserver.PolicyServer, pdu gomatrixserverlib.PDU) (gomatrixserverlib.PDU, error) {
	body, err := a.client.Do(ctx, client.Request{Method: http.MethodPost, Server: p.Via, URI: "/_matrix/policy/v1/sign",
		Body: json.RawMessage(pdu.JSON()), MaxAnswer: maxPolicyAnswer, Timeout: policyTimeout})
	if err != nil {
		return nil, policyError(p, err)
	}
	var answer map[string]map[string]string
	if err := json.Unmarshal(body, &answer); err != nil || answer[p.Via]["ed25519:policy_server"] == "" {
		return nil, httpapi.Forbidden("The room's policy server %s hasn't signed the event", p.Via)
	}
	return p.Sign(pdu, answer[p.Via]["ed25519:policy_server"])
}

// policyError is what a client is told whose event a policy server hasn't signed: what that
// says, if it has looked at the event.
func policyError(p *roomserver.PolicyServer, err error) error {
	var refused *client.RemoteError
	if errors.As(err, &refused) && (refused.Code == "M_FORBIDDEN" || refused.Status == http.StatusTooManyRequests) {
		status := http.StatusForbidden
		if refused.Code != "M_FORBIDDEN" {
			status = refused.Status
		}
		e := httpapi.New(status, refused.Code, "%s", refused.Message)
		e.RetryAfter, e.Err = refused.RetryAfter, err
		return e
	}
	e := httpapi.Forbidden("The room's policy server %s can't be asked", p.Via)
	e.Err = err
	return e
}
