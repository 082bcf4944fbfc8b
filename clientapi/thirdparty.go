package clientapi

import (
	"net/http"

	"hearth/internal/httpapi"
)

// thirdPartyRoutes are about networks that application services bridge. There are no
// application services, so there are no networks.
//
// https://spec.matrix.org/v1.19/client-server-api/#third-party-networks
func (a *API) thirdPartyRoutes() []httpapi.Route {
	unknown := func(sentence string) func(*http.Request, *httpapi.Requester) (any, error) {
		return func(*http.Request, *httpapi.Requester) (any, error) { return nil, httpapi.NotFound("%s", sentence) }
	}
	noNetwork := unknown("No such third-party network is bridged by this server")
	return []httpapi.Route{
		{Method: "GET", Path: "/thirdparty/protocols", Handle: func(*http.Request, *httpapi.Requester) (any, error) { return nil, nil }},
		{Method: "GET", Path: "/thirdparty/protocol/{protocol}", Handle: noNetwork},
		{Method: "GET", Path: "/thirdparty/location", Handle: unknown("This alias is no third-party location")},
		{Method: "GET", Path: "/thirdparty/location/{protocol}", Handle: noNetwork},
		{Method: "GET", Path: "/thirdparty/user", Handle: unknown("This is no third-party user")},
		{Method: "GET", Path: "/thirdparty/user/{protocol}", Handle: noNetwork},
		{Method: "PUT", Path: "/directory/list/appservice/{networkId}/{roomId}", Handle: notAppservice},
	}
}

// appserviceRoutes are for application services alone.
func (a *API) appserviceRoutes() []httpapi.Route {
	return []httpapi.Route{{Method: "POST", Path: "/appservice/{appserviceId}/ping", Handle: notAppservice}}
}

// notAppservice refuses people what is for application services.
//
// https://spec.matrix.org/v1.19/application-service-api/#post_matrixclientv1appserviceappserviceidping
func notAppservice(*http.Request, *httpapi.Requester) (any, error) {
	return nil, httpapi.Forbidden("The access token is none of an application service")
}
