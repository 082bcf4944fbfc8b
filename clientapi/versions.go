package clientapi

import (
	"net/http"

	"hearth/internal/httpapi"
)

// specVersions are the versions of the specification whose required parts are
// all served, and unstableFeatures what is served beyond any of them, and what clients
// that know those versions still ask for by the name it had before.
var (
	specVersions = []string{"r0.5.0", "r0.6.0", "r0.6.1", "v1.1", "v1.2", "v1.3", "v1.4", "v1.5", "v1.6", "v1.7", "v1.8", "v1.9",
		"v1.10", "v1.11", "v1.12", "v1.13", "v1.14", "v1.15", "v1.16", "v1.17", "v1.18", "v1.19"}
	unstableFeatures = map[string]bool{
		// Without it Element neither sets up nor offers to verify anybody's identity.
		"org.matrix.e2e_cross_signing":            true,
		"org.matrix.msc3827.stable":               true, // the room directory's filter by type, which shows spaces
		"org.matrix.msc3981":                      true, // relations of relations
		"uk.half-shot.msc2666.query_mutual_rooms": true,
		"uk.tcpip.msc4133.stable":                 true, // profile fields

		"org.matrix.msc3814":            true, // dehydrated devices
		"org.matrix.msc3874":            true, // filters of relations
		"org.matrix.msc3890":            true, // settings of a device for its notifications go with it
		"org.matrix.msc4140":            true, // delayed events
		"org.matrix.msc4143":            true, // transports of calls
		"org.matrix.msc4155":            true, // lists of whose invitations are taken
		"org.matrix.msc4222":            true, // state_after in /sync
		"org.matrix.msc4306":            true, // subscriptions to threads
		"org.matrix.msc4354":            true, // sticky events
		"org.matrix.simplified_msc3575": true, // sliding sync
		"org.matrix.msc3391":            true, // deleting account data
	}
)

func (a *API) versionsRoutes() []httpapi.Route {
	return []httpapi.Route{{Method: "GET", Path: "/_matrix/client/versions", Auth: httpapi.AuthNone, Handle: a.getVersions}}
}

// getVersions is GET /versions. All users have the same features, so the token is
// not looked at: a client may ask with one that has expired.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientversions
func (a *API) getVersions(*http.Request, *httpapi.Requester) (any, error) {
	return map[string]any{"versions": specVersions, "unstable_features": unstableFeatures}, nil
}
