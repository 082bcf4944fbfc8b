package clientapi

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"time"

	"hearth/internal/httpapi"
	"hearth/internal/idp"
	"hearth/internal/userid"
	"hearth/storage"
)

// ssoTokenLifetime is how long a client may take to log in after it was led back to.
const ssoTokenLifetime = 30 * time.Second

// ssoAccount is whose an identity is.
type ssoAccount struct {
	userID string
	// linked is whether it already is, isNew whether the account is still to be made.
	linked, isNew bool
}

// ssoAccount finds the account of an identity: the one that it belongs to, or the one it would
// get. Who may not sign in is refused with an *httpapi.Error.
func (a *API) ssoAccount(ctx context.Context, p *idp.Provider, id *idp.Identity) (*ssoAccount, error) {
	userID, err := a.db.SSOUser(ctx, storage.SSOIdentity{Issuer: id.Issuer, Subject: id.Subject})
	if err == nil {
		_, err = a.maySignIn(ctx, userID)
		return &ssoAccount{userID: userID, linked: true}, err
	}
	if !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	userID, err = a.availableID(ctx, userid.Map(id.Localpart))
	switch {
	case err == nil && p.Register:
		return &ssoAccount{userID: userID, isNew: true}, nil
	case err == nil:
		return nil, httpapi.Forbidden("You have no account on this server, and signing in doesn't make one")
	case httpapi.CodeOf(err) != "M_USER_IN_USE":
		return nil, err
	}
	return a.existingAccount(ctx, p, id)
}

// existingAccount is that which has the name of somebody new, if they may have it. One that the
// provider already knows as somebody's is theirs.
func (a *API) existingAccount(ctx context.Context, p *idp.Provider, id *idp.Identity) (*ssoAccount, error) {
	userID, err := userid.New(userid.Map(id.Localpart), a.serverName)
	if err != nil {
		return nil, err
	}
	m, err := a.db.SignInMethods(ctx, userID, "")
	if err != nil {
		return nil, err
	}
	if !p.AllowExisting || slices.Contains(m.Issuers, p.Issuer) {
		return nil, httpapi.Forbidden("The name %s belongs to somebody else on this server", userID)
	}
	_, err = a.maySignIn(ctx, userID)
	return &ssoAccount{userID: userID}, err
}

// maySignIn refuses those whose account has ended or is locked.
func (a *API) maySignIn(ctx context.Context, userID string) (*storage.User, error) {
	user, err := a.db.GetUser(ctx, userID)
	switch {
	case err != nil:
		return nil, err
	case user.Deactivated:
		return nil, userDeactivated()
	case user.Guest:
		return nil, httpapi.Forbidden("The name %s belongs to a guest", userID)
	case user.Locked:
		return nil, httpapi.UserLocked()
	}
	return user, nil
}

// ssoRefused shows why somebody may not sign in.
func (a *API) ssoRefused(err error) (any, error) {
	var refused *httpapi.Error
	if errors.As(err, &refused) && refused.Status < 500 {
		return a.ssoPage(http.StatusForbidden, refused.Message+".")
	}
	return nil, err
}

// ssoArrived goes on with somebody who has shown who they are: asks them whether they want what
// they are here for, unless it can be nothing else.
func (a *API) ssoArrived(r *http.Request, in *ssoSignIn) (any, error) {
	account, err := a.ssoAccount(r.Context(), in.provider, in.identity)
	if err != nil {
		return a.ssoRefused(err)
	}
	data := map[string]any{"User": account.userID, "New": account.isNew, "Provider": in.provider.Name}
	target := "'self'"
	switch then := in.purpose; {
	case then.session != "":
		s := a.auth.waiting(then.session, stageSSO)
		if s == nil {
			return a.ssoPage(http.StatusNotFound, "This page is no longer good. Go back to your app and try again.")
		}
		if !account.linked || account.userID != s.requester {
			return a.ssoPage(http.StatusForbidden, "You have signed in as "+account.userID+", but the app asks for somebody else.")
		}
		data["What"] = s.what
	case (then.page != "" || a.trustedClient(then.redirectURL)) && (!account.isNew || a.o.Terms == nil):
		return a.ssoDone(r, in)
	case then.page == "":
		client := clientRedirect(then.redirectURL)
		data["Client"] = client.Host
		if client.Scheme != "https" && client.Scheme != "http" {
			data["Client"] = client.Scheme
		}
		target = formTarget(client)
	}
	if account.isNew && a.o.Terms != nil {
		data["Documents"] = a.o.Terms.documents()
	}
	token := rand.Text()
	a.sso.byToken.Add(token, in)
	data["Token"] = token
	return a.page(http.StatusOK, ssoTemplate, data, target)
}

// postSSOConfirm is what somebody says who was asked.
func (a *API) postSSOConfirm(r *http.Request, _ *httpapi.Requester) (any, error) {
	form, err := a.readForm(r)
	if err != nil {
		return nil, err
	}
	browser, _ := a.browserOf(r)
	in := a.sso.take(a.sso.byToken, form.Get("token"), browser)
	switch {
	case in == nil:
		return a.ssoPage(http.StatusBadRequest, "This page is no longer good. Go back to your app and try again.")
	case form.Has("cancel"):
		return a.ssoPage(http.StatusOK, "Nothing was done. You can close this page.")
	}
	return a.ssoDone(r, in)
}

// ssoDone does what somebody has signed in for.
func (a *API) ssoDone(r *http.Request, in *ssoSignIn) (any, error) {
	userID, err := a.ssoUser(r.Context(), in)
	if err != nil {
		return a.ssoRefused(err)
	}
	if in.purpose.page != "" {
		user, err := a.db.GetUser(r.Context(), userID)
		if err != nil {
			return nil, err
		}
		return a.startPageSession(user, in.purpose.page), nil
	}
	if in.purpose.session != "" {
		s := a.auth.waiting(in.purpose.session, stageSSO)
		if s == nil || s.requester != userID {
			return a.ssoPage(http.StatusNotFound, "This page is no longer good. Go back to your app and try again.")
		}
		a.auth.complete(s, a.auth.demandOf(s), stageSSO, proof{userID: userID})
		return a.authDonePage()
	}
	token, err := a.newLoginToken(r.Context(), userID, ssoTokenLifetime)
	if err != nil {
		return a.ssoRefused(err)
	}
	return redirect(http.StatusSeeOther, withLoginToken(*clientRedirect(in.purpose.redirectURL), token)), nil
}

// ssoUser returns whose the identity is, from now on if it was nobody's.
func (a *API) ssoUser(ctx context.Context, in *ssoSignIn) (string, error) {
	account, err := a.ssoAccount(ctx, in.provider, in.identity)
	if err != nil || account.linked {
		return account.id(), err
	}
	id := storage.SSOIdentity{Issuer: in.identity.Issuer, Subject: in.identity.Subject}
	if account.isNew {
		registration := storage.Registration{User: storage.User{ID: account.userID}, SSO: &id}
		if a.o.Terms != nil {
			registration.AcceptedTerms = a.o.Terms.Version
		}
		err = a.db.Register(ctx, registration)
	} else {
		err = a.db.AddSSOIdentity(ctx, account.userID, id)
	}
	switch {
	case errors.Is(err, storage.ErrUserExists): // just now, perhaps by the same person
		account, err = a.ssoAccount(ctx, in.provider, in.identity)
		if err == nil && !account.linked {
			err = registrationError(storage.ErrUserExists)
		}
		return account.id(), err
	case err != nil:
		return "", registrationError(err)
	}
	a.log.Info("a user signs in by a provider for the first time", "user", account.userID, "provider", in.provider.ID, "new", account.isNew)
	if account.isNew && in.identity.DisplayName != "" {
		return account.userID, a.setDisplayName(ctx, account.userID, truncate(in.identity.DisplayName, maxDisplayName))
	}
	return account.userID, nil
}

func (s *ssoAccount) id() string {
	if s == nil {
		return ""
	}
	return s.userID
}
