package clientapi

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/storage"
)

func (a *API) loginRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/login", Auth: httpapi.AuthNone, Handle: a.getLogin},
		{Method: "POST", Path: "/login", Auth: httpapi.AuthNone, Rate: httpapi.RateLogin, Handle: a.postLogin},
		{Method: "POST", Path: "/refresh", Auth: httpapi.AuthNone, Rate: httpapi.RateLogin, Handle: a.postRefresh},
		{Method: "POST", Path: "/logout", Auth: httpapi.AuthEvenLocked, Handle: a.postLogout},
		{Method: "POST", Path: "/logout/all", Auth: httpapi.AuthEvenLocked, Handle: a.postLogoutAll},
	}
}

// sessionAnswer is what login and registration answer.
type sessionAnswer struct {
	UserID       string `json:"user_id"`
	DeviceID     string `json:"device_id,omitempty"`
	AccessToken  string `json:"access_token,omitempty"`
	RefreshToken string `json:"refresh_token,omitempty"`
	ExpiresInMS  int64  `json:"expires_in_ms,omitempty"`
	// HomeServer is what clients of old store their sessions with.
	HomeServer string     `json:"home_server,omitempty"`
	WellKnown  *wellKnown `json:"well_known,omitempty"`
}

// newSession says for whom createSession makes a session.
type newSession struct {
	UserID string `json:"-"`
	// DeviceID is "" for a new device.
	DeviceID    string `json:"device_id"`
	DisplayName string `json:"initial_device_display_name"`
	Refreshable bool   `json:"refresh_token"`
	// oauthClient is the id of the client that asked for it by OAuth 2.0.
	oauthClient string
}

func (n *newSession) check() error {
	if err := checkText("device_id", n.DeviceID, maxDeviceID); err != nil {
		return err
	}
	return checkText("initial_device_display_name", n.DisplayName, maxDeviceName)
}

// createSession logs a user in. A device that exists already loses its earlier
// tokens.
func (a *API) createSession(ctx context.Context, n newSession) (*sessionAnswer, error) {
	if n.DeviceID == "" {
		n.DeviceID = rand.Text()[:10]
	}
	answer, token := a.issue(n.Refreshable)
	answer.UserID, answer.DeviceID, answer.HomeServer = n.UserID, n.DeviceID, a.serverName
	if n.oauthClient != "" {
		client := hashToken(n.oauthClient)
		token.OAuthClient = &client
	}
	gone, err := a.db.CreateSession(ctx, n.UserID, n.DeviceID, n.DisplayName, token)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, userDeactivated()
	}
	if errors.Is(err, storage.ErrDeviceIsKey) {
		return nil, deviceIsKey()
	}
	if err != nil {
		return nil, err
	}
	a.sessions.forget(gone)
	return answer, a.boundDevices(ctx, n.UserID)
}

func deviceIsKey() error { return httpapi.Forbidden("The device_id is that of a cross-signing key") }

// maxDevices bounds the devices of a user.
const maxDevices = 1000

// boundDevices logs a user out where they have been away for longest, if they have too many devices:
// most likely a program that logs in anew at each start.
func (a *API) boundDevices(ctx context.Context, userID string) error {
	old, err := a.db.DevicesBeyond(ctx, userID, maxDevices)
	if err != nil || len(old) == 0 {
		return err
	}
	return a.deleteDevices(ctx, userID, old)
}

// issue makes an access token, with a refresh token if it is to be refreshed.
func (a *API) issue(refreshable bool) (*sessionAnswer, storage.NewToken) {
	var answer sessionAnswer
	var stored storage.NewToken
	answer.AccessToken, stored.Access = newToken("hearth_at_")
	if refreshable {
		var hash storage.TokenHash
		answer.RefreshToken, hash = newToken("hearth_rt_")
		stored.Refresh, stored.Lifetime = &hash, a.o.AccessTokenLifetime
		answer.ExpiresInMS = max(1, a.o.AccessTokenLifetime.Milliseconds())
	}
	return &answer, stored
}

// getLogin is GET /login.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3login
func (a *API) getLogin(*http.Request, *httpapi.Requester) (any, error) {
	flows := []any{map[string]any{"type": stagePassword}, map[string]any{"type": "m.login.token", "get_login_token": true}}
	if len(a.o.SSO) > 0 {
		flows = append(flows, a.ssoFlow())
	}
	return map[string]any{"flows": flows}, nil
}

// loginRequest is the body of POST /login.
type loginRequest struct {
	newSession
	Type       string      `json:"type"`
	Identifier *identifier `json:"identifier"`
	User       string      `json:"user"`
	Medium     string      `json:"medium"`
	Address    string      `json:"address"`
	Password   *string     `json:"password"`
	Token      string      `json:"token"`
}

// postLogin is POST /login.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3login
func (a *API) postLogin(r *http.Request, _ *httpapi.Requester) (any, error) {
	var body loginRequest
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if err := body.check(); err != nil {
		return nil, err
	}
	user, err := a.loggedIn(r.Context(), &body)
	if err != nil {
		return nil, err
	}
	body.UserID = user.ID
	answer, err := a.createSession(r.Context(), body.newSession)
	if err != nil {
		return nil, err
	}
	answer.WellKnown = a.wellKnown()
	return answer, nil
}

// loggedIn returns the account that the request proves to be its sender's.
func (a *API) loggedIn(ctx context.Context, body *loginRequest) (*storage.User, error) {
	switch {
	case body.Type == "":
		return nil, httpapi.MissingParam("The login type is missing")
	case body.Type == "m.login.token" && body.Token == "":
		return nil, httpapi.MissingParam("The login token is missing")
	case body.Type == "m.login.token":
		return a.takeLoginToken(ctx, body.Token)
	case body.Type == "m.login.application_service":
		return nil, httpapi.Forbidden("The access token is none of an application service")
	case body.Type != "m.login.password":
		return nil, httpapi.New(http.StatusBadRequest, "M_UNKNOWN", "Unknown login type %q", truncate(body.Type, 100))
	case body.Password == nil:
		return nil, httpapi.MissingParam("The password is missing")
	case body.Identifier == nil && body.Medium != "":
		body.Identifier = &identifier{Type: "m.id.thirdparty", Medium: body.Medium, Address: body.Address}
	}
	userID, err := a.resolve(ctx, body.Identifier, body.User)
	if err != nil {
		return nil, err
	}
	return a.checkPassword(ctx, userID, *body.Password)
}

// postRefresh is POST /refresh.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3refresh
func (a *API) postRefresh(r *http.Request, _ *httpapi.Requester) (any, error) {
	var body struct {
		RefreshToken string `json:"refresh_token"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if body.RefreshToken == "" {
		return nil, httpapi.MissingParam("The refresh_token is missing")
	}
	answer, token := a.issue(true)
	gone, err := a.db.RefreshToken(r.Context(), hashToken(body.RefreshToken), token)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, httpapi.UnknownToken(false)
	case errors.Is(err, storage.ErrLocked):
		return nil, httpapi.UserLocked()
	case err != nil:
		return nil, err
	}
	a.sessions.forget(gone)
	return map[string]any{"access_token": answer.AccessToken, "refresh_token": answer.RefreshToken,
		"expires_in_ms": answer.ExpiresInMS}, nil
}

// postLogout is POST /logout: it deletes the device of the token.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logout
func (a *API) postLogout(r *http.Request, u *httpapi.Requester) (any, error) {
	return nil, a.deleteDevices(r.Context(), u.UserID, []string{u.DeviceID})
}

// postLogoutAll is POST /logout/all: it deletes all devices of the user.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3logoutall
func (a *API) postLogoutAll(r *http.Request, u *httpapi.Requester) (any, error) {
	return nil, a.deleteOtherDevices(r.Context(), u.UserID, "")
}
