package federationapi

import (
	"context"
	"encoding/json"
	"net/http"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
)

// maxBodyDepth bounds how deeply bodies nest. It is more than what stands in them may: one
// event that somebody wrote mustn't have all that comes with it be refused.
const maxBodyDepth = 5000

// authenticate finds which server a request comes from, and makes sure that it does
// and may. It reads the body, which must be a JSON object or empty.
//
// https://spec.matrix.org/v1.19/server-server-api/#request-authentication
func (a *API) authenticate(r *http.Request) (origin string, body json.RawMessage, err error) {
	if r.ContentLength != 0 {
		if body, err = httpapi.ReadNestedJSON(r, maxBodyDepth); err != nil {
			return "", nil, err
		}
	}
	origin, signatures, err := a.claimed(r)
	if err != nil {
		return "", nil, err
	}
	if err := a.client.Allowed(origin); err != nil {
		return "", nil, err
	}
	known, err := a.client.Keys.Knows(r.Context(), origin)
	if err != nil {
		return "", nil, err
	}
	if !known {
		// Whoever names a new server makes this one look for it.
		if err := httpapi.Charge(r, nil, httpapi.RateExpensive); err != nil {
			return "", nil, err
		}
	}
	if err := a.verify(r, origin, signatures, body); err != nil {
		return "", nil, err
	}
	if err := a.limiter.Take(origin); err != nil {
		return "", nil, err
	}
	a.client.Alive(origin)
	a.sender.heardOf(origin)
	return origin, body, nil
}

func unauthorized(format string, args ...any) *httpapi.Error {
	return httpapi.New(http.StatusUnauthorized, "M_UNAUTHORIZED", format, args...)
}

// maxSignatures bounds the signatures of one request.
const maxSignatures = 5

// claimed returns which server the request says that it comes from, and its
// signatures by key.
func (a *API) claimed(r *http.Request) (origin string, signatures map[string]string, err error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return "", nil, unauthorized("The request isn't signed: it has no Authorization header")
	}
	if len(headers) > maxSignatures {
		return "", nil, unauthorized("The request has more than %d signatures", maxSignatures)
	}
	signatures = map[string]string{}
	for _, h := range headers {
		auth, ok := client.ParseAuthorization(h)
		if !ok {
			return "", nil, unauthorized("The Authorization header isn't of the form X-Matrix origin=…,destination=…,key=…,sig=…")
		}
		if origin != "" && auth.Origin != origin {
			return "", nil, unauthorized("The request is signed by different servers")
		}
		if auth.Destination != "" && auth.Destination != a.serverName {
			return "", nil, unauthorized("The request is meant for another server")
		}
		origin = auth.Origin
		signatures[auth.Key] = auth.Signature
	}
	if _, _, ok := client.SplitServerName(origin); !ok || origin == a.serverName {
		return "", nil, unauthorized("The origin of the request is no other server's name")
	}
	return origin, signatures, nil
}

// verify makes sure that the server has signed this request.
func (a *API) verify(r *http.Request, origin string, signatures map[string]string, body json.RawMessage) error {
	object, err := json.Marshal(struct {
		client.SignedRequest
		Signatures map[string]map[string]string `json:"signatures"`
	}{
		client.SignedRequest{Content: body, Destination: a.serverName, Method: r.Method, Origin: origin, URI: r.RequestURI},
		map[string]map[string]string{origin: signatures},
	})
	if err != nil {
		return httpapi.NotJSON("The request can't be put into canonical form")
	}
	err = a.client.Keys.VerifyJSON(r.Context(), origin, object)
	if r.Context().Err() != nil {
		return context.Cause(r.Context())
	}
	if err != nil {
		e := unauthorized("The signature of %s can't be verified", origin)
		e.Err = err
		a.log.Debug("a request isn't authentic", "origin", origin, "err", err)
		return e
	}
	return nil
}
