package clientapi

import (
	"net/http"
	"strings"

	"hearth/internal/httpapi"
)

// wellKnown tells clients where the server is.
type wellKnown struct {
	Homeserver struct {
		BaseURL string `json:"base_url"`
	} `json:"m.homeserver"`
	// RTCFoci are the transports of calls, where clients look for them that don't ask
	// for them yet.
	RTCFoci []transport `json:"org.matrix.msc4143.rtc_foci,omitempty"`
}

// wellKnown is nil when no public URL is configured.
func (a *API) wellKnown() *wellKnown {
	if a.o.PublicBaseURL == "" {
		return nil
	}
	var w wellKnown
	w.Homeserver.BaseURL = strings.TrimSuffix(a.o.PublicBaseURL, "/")
	w.RTCFoci = a.transports()
	return &w
}

// Support says who helps the users of this server, or whom to tell of abuse.
type Support struct {
	Contacts []SupportContact `json:"contacts,omitempty"`
	Page     string           `json:"support_page,omitempty"`
}

// SupportContact is a person or team; Role is m.role.admin or m.role.security.
type SupportContact struct {
	Role     string `json:"role"`
	MatrixID string `json:"matrix_id,omitempty"`
	Email    string `json:"email_address,omitempty"`
}

func (a *API) wellKnownRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/.well-known/matrix/client", Auth: httpapi.AuthNone, Handle: a.getWellKnown},
		{Method: "GET", Path: "/.well-known/matrix/support", Auth: httpapi.AuthNone, Handle: a.getSupport},
		{Method: "GET", Path: "/.well-known/matrix/policy_server", Auth: httpapi.AuthNone, Handle: getPolicyServer},
	}
}

// getWellKnown is GET /.well-known/matrix/client.
//
// https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixclient
func (a *API) getWellKnown(*http.Request, *httpapi.Requester) (any, error) {
	w := a.wellKnown()
	if w == nil {
		return nil, httpapi.NotFound("This server announces no public URL")
	}
	return w, nil
}

// getSupport is GET /.well-known/matrix/support.
//
// https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixsupport
func (a *API) getSupport(*http.Request, *httpapi.Requester) (any, error) {
	if a.o.Support == nil {
		return nil, httpapi.NotFound("This server announces no support contacts")
	}
	return a.o.Support, nil
}

// getPolicyServer is GET /.well-known/matrix/policy_server, for a server that is none.
//
// https://spec.matrix.org/v1.19/client-server-api/#getwell-knownmatrixpolicy_server
func getPolicyServer(*http.Request, *httpapi.Requester) (any, error) {
	return nil, httpapi.NotFound("This server is no policy server")
}
