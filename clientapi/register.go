package clientapi

import (
	"context"
	"crypto/rand"
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

// registrationTokenRoutes are below v1.
func (a *API) registrationTokenRoutes() []httpapi.Route {
	return []httpapi.Route{{Method: "GET", Path: "/register/m.login.registration_token/validity", Auth: httpapi.AuthNone,
		Rate: httpapi.RateLogin, Handle: a.getTokenValidity}}
}

func registrationClosed() error { return httpapi.Forbidden("Registration is not open on this server") }

// postRegister is POST /register.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3register
func (a *API) postRegister(r *http.Request, _ *httpapi.Requester) (any, error) {
	switch kind := r.URL.Query().Get("kind"); {
	case kind == "guest":
		return a.registerGuest(r)
	case kind != "" && kind != "user":
		return nil, httpapi.InvalidParam("Unknown kind of account")
	case !a.o.RegistrationEnabled:
		return nil, registrationClosed()
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
	if body.Password != nil {
		if err := a.checkPolicy(*body.Password); err != nil {
			return nil, err
		}
	}
	if auth != nil { // asking for the flows makes no account
		if err := httpapi.Charge(r, nil, httpapi.RateRegister); err != nil {
			return nil, err
		}
	}
	s, err := a.authenticate(r.Context(), a.registrationDemand(), auth)
	if err != nil {
		return nil, err
	}
	body.account.Token, body.account.AcceptedTerms, body.account.Email = s.registrationToken, s.acceptedTerms, s.email
	return a.register(r.Context(), &body)
}

// registerGuest makes a guest, of whose wishes only the device's name counts.
//
// https://spec.matrix.org/v1.19/client-server-api/#guest-access
func (a *API) registerGuest(r *http.Request) (any, error) {
	if !a.o.GuestsAllowed {
		return nil, httpapi.GuestForbidden("This server has no guest accounts")
	}
	var body struct {
		DisplayName string `json:"initial_device_display_name"`
	}
	if err := httpapi.DecodeOptionalJSON(r, &body); err != nil {
		return nil, err
	}
	session := newSession{UserID: a.randomID(), DisplayName: body.DisplayName}
	if err := session.check(); err != nil {
		return nil, err
	}
	if err := httpapi.Charge(r, nil, httpapi.RateRegister); err != nil {
		return nil, err
	}
	if err := a.db.CreateUser(r.Context(), storage.User{ID: session.UserID, Guest: true}); err != nil {
		return nil, registrationError(err)
	}
	return a.createSession(r.Context(), session)
}

// randomID is the id of a new user who hasn't chosen one.
func (a *API) randomID() string { return "@" + strings.ToLower(rand.Text()[:12]) + ":" + a.serverName }

// registration is the account to make.
type registration struct {
	newSession
	Username     string  `json:"username"`
	Password     *string `json:"password"`
	InhibitLogin bool    `json:"inhibit_login"`
	// GuestAccessToken is that of the guest whose account becomes this one.
	GuestAccessToken string `json:"guest_access_token"`
	account          storage.Registration
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
	switch {
	case body.GuestAccessToken != "":
		body.account.FromGuest = true
		body.account.User.ID, err = a.guestUpgrade(ctx, body)
	case body.Username != "":
		body.account.User.ID, err = a.availableID(ctx, body.Username)
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
	case err == nil, id == a.notices.UserID:
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
	account := &body.account
	if account.User.ID == "" {
		account.User.ID = a.randomID()
	}
	account.User.PasswordHash = hash
	if err := a.db.Register(ctx, *account); err != nil {
		return nil, registrationError(err)
	}
	if account.FromGuest {
		if err := a.forgetSessions(ctx, account.User.ID); err != nil {
			return nil, err
		}
	}
	if body.InhibitLogin {
		return &sessionAnswer{UserID: account.User.ID, HomeServer: a.serverName}, nil
	}
	body.UserID = account.User.ID
	return a.createSession(ctx, body.newSession)
}

// getAvailable is GET /register/available.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3registeravailable
func (a *API) getAvailable(r *http.Request, _ *httpapi.Requester) (any, error) {
	if !a.o.RegistrationEnabled {
		return nil, registrationClosed()
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
