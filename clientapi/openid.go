package clientapi

import (
	"errors"
	"net/http"
	"time"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// openIDLifetime is how long a third party may take to ask whom a token stands for.
const openIDLifetime = time.Hour

// openIDRoutes are those that third parties use, who know the server's name alone.
func (a *API) openIDRoutes() []httpapi.Route {
	return []httpapi.Route{{Method: "GET", Path: "/_matrix/federation/v1/openid/userinfo", Auth: httpapi.AuthNone,
		Rate: httpapi.RateExpensive, Handle: a.getOpenIDUser}}
}

// postOpenID is POST /user/{userId}/openid/request_token: a token by which the user
// can show a third party who they are.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridopenidrequest_token
func (a *API) postOpenID(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct{}
	if err := httpapi.DecodeOptionalJSON(r, &body); err != nil {
		return nil, err
	}
	if httpapi.Var(r, "userId") != u.UserID {
		return nil, httpapi.Forbidden("You can only ask for tokens of your own")
	}
	token, hash := newToken("hearth_openid_")
	if err := a.db.AddProof(r.Context(), storage.ProofOfOpenID, u.UserID, hash, openIDLifetime); err != nil {
		return nil, err
	}
	return map[string]any{"access_token": token, "token_type": "Bearer",
		"matrix_server_name": a.serverName, "expires_in": int(openIDLifetime.Seconds())}, nil
}

// getOpenIDUser is GET /_matrix/federation/v1/openid/userinfo, by which third parties
// ask whom a token stands for.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1openiduserinfo
func (a *API) getOpenIDUser(r *http.Request, _ *httpapi.Requester) (any, error) {
	token := r.URL.Query().Get("access_token")
	if token == "" {
		return nil, httpapi.MissingToken()
	}
	userID, err := a.db.GetProof(r.Context(), storage.ProofOfOpenID, hashToken(token))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, httpapi.New(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", "Unknown or expired access token")
	}
	if err != nil {
		return nil, err
	}
	return map[string]string{"sub": userID}, nil
}
