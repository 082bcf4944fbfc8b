package clientapi

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"sync"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// oauthCode stands for what a user has agreed to.
type oauthCode struct {
	authorization
	by   signedIn
	mu   sync.Mutex
	used bool
}

// take uses the code up. It returns false if it was used before.
func (c *oauthCode) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.used
	c.used = true
	return first
}

var codeVerifier = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)

// tokenAnswer is what a client gets for a code or a refresh token.
//
// https://datatracker.ietf.org/doc/html/rfc6749#section-5.1
type tokenAnswer struct {
	AccessToken  string `json:"access_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int64  `json:"expires_in"`
	RefreshToken string `json:"refresh_token"`
	Scope        string `json:"scope,omitempty"`
}

// postOAuthToken is the token endpoint. Apps that ask again and again whether their user has decided
// don't take from others at their address what those need to log in.
//
// https://spec.matrix.org/v1.19/client-server-api/#grant-types
func (a *API) postOAuthToken(r *http.Request, _ *httpapi.Requester) (any, error) {
	if err := r.ParseForm(); err != nil {
		return oauthRefusal("invalid_request", "The form can't be read").reply(), nil
	}
	class := httpapi.RateLogin
	if r.PostForm.Get("grant_type") == deviceGrant {
		class = httpapi.RateExpensive
	}
	if err := httpapi.Charge(r, nil, class); err != nil {
		return nil, err
	}
	var answer *tokenAnswer
	var err error
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		answer, err = a.redeemCode(r.Context(), r.PostForm)
	case "refresh_token":
		answer, err = a.refreshOAuth(r.Context(), r.PostForm)
	case deviceGrant:
		answer, err = a.redeemDeviceCode(r.Context(), r.PostForm)
	default:
		err = oauthRefusal("unsupported_grant_type", "grant_type must be one of %q", oauthGrants)
	}
	var refused *oauthError
	if errors.As(err, &refused) {
		return refused.reply(), nil
	}
	if err != nil {
		return nil, err
	}
	return &httpapi.Reply{Status: http.StatusOK, Header: oauthHeader, JSON: answer}, nil
}

func toTokenAnswer(s *sessionAnswer, scope string) *tokenAnswer {
	return &tokenAnswer{s.AccessToken, "Bearer", max(1, s.ExpiresInMS/1000), s.RefreshToken, scope}
}

// redeemCode makes a session for a code. One that comes a second time has been seen by
// somebody else: the session that it was given for ends.
func (a *API) redeemCode(ctx context.Context, form url.Values) (*tokenAnswer, error) {
	bad := oauthRefusal("invalid_grant", "The code is unknown, expired, or was given to another client")
	code, ok := a.oauth.codes.Get(hashToken(form.Get("code")))
	if !ok || code.clientID != form.Get("client_id") || code.redirectURI != form.Get("redirect_uri") {
		return nil, bad
	}
	verifier := form.Get("code_verifier")
	sum := sha256.Sum256([]byte(verifier))
	challenge := base64.RawURLEncoding.EncodeToString(sum[:])
	if !codeVerifier.MatchString(verifier) || subtle.ConstantTimeCompare([]byte(challenge), []byte(code.challenge)) != 1 {
		return nil, oauthRefusal("invalid_grant", "The code_verifier is not the one of the code_challenge")
	}
	if !code.take() {
		if err := a.deleteDevices(ctx, code.by.userID, []string{code.deviceID}); err != nil {
			return nil, err
		}
		return nil, oauthRefusal("invalid_grant", "The code was used before")
	}
	return a.oauthSession(ctx, code.by, &code.authorization)
}

// oauthSession makes a session for a client that a user has agreed to.
func (a *API) oauthSession(ctx context.Context, by signedIn, q *authorization) (*tokenAnswer, error) {
	user, err := a.maySignIn(ctx, by.userID)
	if err == nil {
		err = by.still(user)
	}
	if err != nil {
		return nil, grantRefused(err)
	}
	session := newSession{UserID: by.userID, DeviceID: q.deviceID, DisplayName: q.client.Name, Refreshable: true, oauthClient: q.clientID}
	answer, err := a.createSession(ctx, session)
	if err != nil {
		return nil, grantRefused(err)
	}
	return toTokenAnswer(answer, q.scope), nil
}

// grantRefused is a refusal of the account as OAuth 2.0 has it.
func grantRefused(err error) error {
	var refused *httpapi.Error
	if errors.As(err, &refused) && refused.Status < 500 {
		return oauthRefusal("invalid_grant", "%s", refused.Message)
	}
	return err
}

// refreshOAuth is the refresh token grant.
func (a *API) refreshOAuth(ctx context.Context, form url.Values) (*tokenAnswer, error) {
	answer, token := a.issue(true)
	client := hashToken(form.Get("client_id"))
	token.OAuthClient = &client
	gone, err := a.db.RefreshToken(ctx, hashToken(form.Get("refresh_token")), token)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, oauthRefusal("invalid_grant", "The refresh token is unknown, was used up, or is another client's")
	case errors.Is(err, storage.ErrLocked):
		return nil, oauthRefusal("invalid_grant", "This account has been locked")
	case err != nil:
		return nil, err
	}
	a.sessions.forget(gone)
	return toTokenAnswer(answer, ""), nil
}

// postRevoke ends the session that a token belongs to. Whoever has the token may.
//
// https://spec.matrix.org/v1.19/client-server-api/#token-revocation
func (a *API) postRevoke(r *http.Request, _ *httpapi.Requester) (any, error) {
	if err := r.ParseForm(); err != nil {
		return oauthRefusal("invalid_request", "The form can't be read").reply(), nil
	}
	if !r.PostForm.Has("token") {
		return oauthRefusal("invalid_request", "The token is missing").reply(), nil
	}
	userID, deviceID, err := a.db.DeviceOfToken(r.Context(), hashToken(r.PostForm.Get("token")))
	if errors.Is(err, storage.ErrNotFound) {
		return &httpapi.Reply{Status: http.StatusOK, Header: oauthHeader}, nil
	}
	if err != nil {
		return nil, err
	}
	return &httpapi.Reply{Status: http.StatusOK, Header: oauthHeader}, a.deleteDevices(r.Context(), userID, []string{deviceID})
}
