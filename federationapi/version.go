package federationapi

import (
	"net/http"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
)

func (a *API) versionRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/version", Auth: httpapi.AuthNone, Handle: a.getVersion},
	}
}

// getVersion is GET /_matrix/federation/v1/version.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1version
func (a *API) getVersion(*http.Request, *httpapi.Requester) (any, error) {
	return map[string]any{"server": map[string]string{"name": "Hearth", "version": a.o.Version}}, nil
}

func (a *API) wellKnownRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/.well-known/matrix/server", Auth: httpapi.AuthNone, Handle: a.getWellKnown},
	}
}

// getWellKnown is GET /.well-known/matrix/server.
//
// https://spec.matrix.org/v1.19/server-server-api/#getwell-knownmatrixserver
func (a *API) getWellKnown(*http.Request, *httpapi.Requester) (any, error) {
	if a.o.PublicAddress == "" {
		return nil, httpapi.NotFound("This server announces no address: it is at its name")
	}
	return map[string]string{"m.server": a.o.PublicAddress}, nil
}

// CertificateName is the name or address that the certificate of a server must be
// for, when it is found at publicAddress, or at its name if that is "".
func CertificateName(serverName, publicAddress string) string {
	if publicAddress != "" {
		serverName = publicAddress
	}
	host, _, _ := client.SplitServerName(serverName)
	return host
}
