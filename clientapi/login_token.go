package clientapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// loginTokenLifetime is how long a token is good for logging in another device.
const loginTokenLifetime = 2 * time.Minute

func (a *API) loginTokenRoutes() []httpapi.Route {
	return []httpapi.Route{{Method: "POST", Path: "/login/get_token", Rate: httpapi.RateLogin, Handle: a.postLoginToken}}
}

// postLoginToken is POST /login/get_token, with interactive authentication: a token
// by which another device can log in, once.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv1loginget_token
func (a *API) postLoginToken(r *http.Request, u *httpapi.Requester) (any, error) {
	if _, err := a.interactive(r, u, nil); err != nil {
		return nil, err
	}
	token, err := a.newLoginToken(r.Context(), u.UserID, loginTokenLifetime)
	if err != nil {
		return nil, err
	}
	return map[string]any{"login_token": token, "expires_in_ms": loginTokenLifetime.Milliseconds()}, nil
}

func (a *API) newLoginToken(ctx context.Context, userID string, lifetime time.Duration) (string, error) {
	token, hash := newToken("hearth_lt_")
	err := a.db.AddProof(ctx, storage.ProofOfLogin, userID, hash, lifetime)
	if errors.Is(err, storage.ErrNotFound) {
		return "", userDeactivated()
	}
	return token, err
}

// takeLoginToken returns the account that a login token stands for and uses the token
// up.
func (a *API) takeLoginToken(ctx context.Context, token string) (*storage.User, error) {
	userID, err := a.db.TakeProof(ctx, storage.ProofOfLogin, hashToken(token))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, httpapi.Forbidden("The login token is unknown, expired or was used before")
	}
	if err != nil {
		return nil, err
	}
	user, err := a.db.GetUser(ctx, userID)
	switch {
	case err != nil:
		return nil, err
	case user.Deactivated:
		return nil, userDeactivated()
	case user.Locked:
		return nil, httpapi.UserLocked()
	}
	return user, nil
}
