package clientapi

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"net/http"
	"strings"

	"hearth/internal/httpapi"
	"hearth/internal/password"
	"hearth/internal/userid"
	"hearth/storage"
)

func (a *API) registerRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "POST", Path: "/register", Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.postRegister},
		{Method: "GET", Path: "/register/available", Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.getAvailable},
	}
}

// registerOperation binds sessions of interactive authentication to
// registration. The parameters don't count: there is no account yet to misuse,
// and clients ask for the flows before they know them.
var registerOperation = sha256.Sum256([]byte("register"))

// postRegister is POST /register.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
func (a *API) postRegister(r *http.Request, _ *httpapi.Requester) (any, error) {
	switch kind := r.URL.Query().Get("kind"); {
	case kind == "guest":
		return nil, httpapi.New(http.StatusForbidden, "M_GUEST_ACCESS_FORBIDDEN", "This server has no guest accounts")
	case kind != "" && kind != "user":
		return nil, httpapi.InvalidParam("Unknown kind of account")
	case !a.o.RegistrationEnabled:
		return nil, httpapi.Forbidden("Registration is not open on this server")
	}
	auth, rest, err := splitAuth(r)
	if err != nil {
		return nil, err
	}
	var body registration
	if err := httpapi.Unmarshal(rest, &body); err != nil {
		return nil, err
	}
	if err := a.checkRegistration(r.Context(), &body); err != nil {
		return nil, err
	}
	if auth != nil { // asking for the flows makes no account
		if err := httpapi.Charge(r, nil, httpapi.RateRegister); err != nil {
			return nil, err
		}
	}
	if _, err := a.authenticate(r.Context(), registerOperation, "", []string{stageDummy}, auth); err != nil {
		return nil, err
	}
	return a.register(r.Context(), &body)
}

// registration is the account to make.
type registration struct {
	newSession
	Username     string  `json:"username"`
	Password     *string `json:"password"`
	InhibitLogin bool    `json:"inhibit_login"`
	account      storage.User
}

// checkRegistration refuses what is wrong however the client authenticates, and
// sets the id of the account if the client has chosen one.
func (a *API) checkRegistration(ctx context.Context, body *registration) (err error) {
	if err := body.check(); err != nil {
		return err
	}
	if body.Password != nil {
		if err := passwordError(ctx, password.Check(*body.Password)); err != nil {
			return err
		}
	}
	if body.Username != "" {
		body.account.ID, err = a.availableID(ctx, body.Username)
	}
	return err
}

// availableID returns the user id that a new account with this name would have.
func (a *API) availableID(ctx context.Context, username string) (string, error) {
	id, err := userid.New(username, a.serverName)
	if err != nil {
		return "", httpapi.New(http.StatusBadRequest, "M_INVALID_USERNAME", "%s", capitalise(err.Error()))
	}
	_, err = a.db.GetUser(ctx, id)
	switch {
	case err == nil:
		return "", userInUse()
	case errors.Is(err, storage.ErrNotFound):
		return id, nil
	}
	return "", err
}

func userInUse() error {
	return httpapi.New(http.StatusBadRequest, "M_USER_IN_USE", "This user name is taken")
}

func capitalise(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// register makes the account and, unless that is inhibited, logs it in.
func (a *API) register(ctx context.Context, body *registration) (*sessionAnswer, error) {
	if body.Password == nil {
		return nil, httpapi.MissingParam("The password is missing")
	}
	hash, err := a.hashPassword(ctx, *body.Password)
	if err != nil {
		return nil, err
	}
	if body.account.ID == "" {
		body.account.ID = "@" + strings.ToLower(rand.Text()[:12]) + ":" + a.serverName
	}
	body.account.PasswordHash = hash
	err = a.db.CreateUser(ctx, body.account)
	if errors.Is(err, storage.ErrUserExists) {
		return nil, userInUse()
	}
	if err != nil {
		return nil, err
	}
	if body.InhibitLogin {
		return &sessionAnswer{UserID: body.account.ID}, nil
	}
	body.UserID = body.account.ID
	return a.createSession(ctx, body.newSession)
}

// getAvailable is GET /register/available.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable
func (a *API) getAvailable(r *http.Request, _ *httpapi.Requester) (any, error) {
	if !a.o.RegistrationEnabled {
		return nil, httpapi.Forbidden("Registration is not open on this server")
	}
	query := r.URL.Query()
	if !query.Has("username") {
		return nil, httpapi.MissingParam("The username is missing")
	}
	if _, err := a.availableID(r.Context(), query.Get("username")); err != nil {
		return nil, err
	}
	return httpapi.Raw(`{"available":true}`), nil
}
