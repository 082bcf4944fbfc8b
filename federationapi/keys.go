package federationapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
)

func (a *API) keyRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/server", Auth: httpapi.AuthNone, Handle: a.getServerKeys},
		{Method: "GET", Path: "/query/{serverName}", Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.getNotary},
		{Method: "POST", Path: "/query", Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.postNotary},
	}
}

// getServerKeys is GET /_matrix/key/v2/server.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
func (a *API) getServerKeys(*http.Request, *httpapi.Requester) (any, error) {
	keys, err := a.client.Keys.OwnPublished()
	return httpapi.Raw(keys), err
}

// getNotary is GET /_matrix/key/v2/query/{serverName}.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2queryservername
func (a *API) getNotary(r *http.Request, _ *httpapi.Requester) (any, error) {
	minimum := time.Now().UnixMilli()
	if text := r.URL.Query().Get("minimum_valid_until_ts"); text != "" {
		var err error
		if minimum, err = strconv.ParseInt(text, 10, 64); err != nil {
			return nil, httpapi.InvalidParam("minimum_valid_until_ts must be a number")
		}
	}
	return a.notarise(r.Context(), map[string]int64{httpapi.Var(r, "serverName"): minimum})
}

// maxNotaryServers bounds the servers that are asked for in one request.
const maxNotaryServers = 100

// postNotary is POST /_matrix/key/v2/query.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixkeyv2query
func (a *API) postNotary(r *http.Request, _ *httpapi.Requester) (any, error) {
	var body struct {
		ServerKeys map[string]map[string]struct {
			MinimumValidUntil *int64 `json:"minimum_valid_until_ts"`
		} `json:"server_keys"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if body.ServerKeys == nil {
		return nil, httpapi.MissingParam("server_keys is missing")
	}
	if len(body.ServerKeys) > maxNotaryServers {
		return nil, httpapi.InvalidParam("At most %d servers can be asked for at once", maxNotaryServers)
	}
	minimum, now := map[string]int64{}, time.Now().UnixMilli()
	for server, keys := range body.ServerKeys {
		for _, k := range keys {
			at := now
			if k.MinimumValidUntil != nil {
				at = *k.MinimumValidUntil
			}
			minimum[server] = max(minimum[server], at)
		}
		if len(keys) == 0 {
			minimum[server] = now
		}
	}
	return a.notarise(r.Context(), minimum)
}

// notarise answers with what is known of the servers' keys. Those with which this
// server doesn't talk are left out.
func (a *API) notarise(ctx context.Context, minimum map[string]int64) (any, error) {
	for server := range minimum {
		if _, _, ok := client.SplitServerName(server); !ok {
			return nil, httpapi.InvalidParam("%.100q is no server name", server)
		}
		if a.client.Allowed(server) != nil {
			delete(minimum, server)
		}
	}
	keys, err := a.client.Keys.Notarise(ctx, minimum)
	if err != nil {
		return nil, err
	}
	return map[string][]json.RawMessage{"server_keys": keys}, nil
}
