package clientapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"hearth/internal/httpapi"
	"hearth/internal/idp"
	"hearth/storage"
)

// The stages of interactive authentication.
//
// https://spec.matrix.org/v1.19/client-server-api/#authentication-types
const (
	stagePassword = "m.login.password"
	stageDummy    = "m.login.dummy"
	stageOAuth    = "m.oauth"
)

// authData is the auth member of a request.
type authData struct {
	Type       string      `json:"type"`
	Session    string      `json:"session"`
	Identifier *identifier `json:"identifier"`
	User       string      `json:"user"`
	Password   string      `json:"password"`
	Token      string      `json:"token"`
	// ThreepidCreds are those of a confirmed e-mail address.
	ThreepidCreds threepidCreds `json:"threepid_creds"`
}

// proof is what passing a stage has shown; together, what a session has.
type proof struct {
	// userID is who proved themselves; "" if nobody has yet.
	userID string
	// byPassword is who did by password.
	byPassword signedIn
	// registrationToken is to be used up, acceptedTerms is a version of the terms.
	registrationToken, acceptedTerms string
	// email is a confirmed address of a new account.
	email *storage.EmailValidation
}

// add takes over what another stage has shown.
func (p *proof) add(q proof) {
	if q.userID != "" {
		p.userID, p.byPassword = q.userID, q.byPassword
	}
	if q.registrationToken != "" {
		p.registrationToken = q.registrationToken
	}
	if q.acceptedTerms != "" {
		p.acceptedTerms = q.acceptedTerms
	}
	if q.email != nil {
		p.email = q.email
	}
}

// setFlows sets how a user can prove who they are: by what they sign in with. A client that has
// come by OAuth 2.0 leads them to this server's page, where the specification has that.
func (a *API) setFlows(r *http.Request, u *httpapi.Requester, d *demand) error {
	m, err := a.db.SignInMethods(r.Context(), u.UserID, u.DeviceID)
	if err != nil {
		return err
	}
	d.flows = nil
	if m.OAuth && a.o.OAuthKey != nil && strings.HasSuffix(r.URL.Path, "/keys/device_signing/upload") {
		d.flows = [][]string{{stageOAuth}}
		d.page = a.baseURL() + accountQuery{Action: actionReset}.page() + "&session="
		return nil
	}
	if len(a.ssoProvidersOf(m)) > 0 {
		d.flows = append(d.flows, []string{stageSSO})
	}
	if m.Password || len(d.flows) == 0 {
		d.flows = append(d.flows, []string{stagePassword})
	}
	return nil
}

// ssoProvidersOf are those that know the user.
func (a *API) ssoProvidersOf(m *storage.SignInMethods) []*idp.Provider {
	var known []*idp.Provider
	for _, p := range a.o.SSO {
		if slices.Contains(m.Issuers, p.Issuer) {
			known = append(known, p)
		}
	}
	return known
}

// tryStage attempts one stage and returns what it has shown. A failure after which
// the client may try again is a 403.
func (a *API) tryStage(ctx context.Context, d demand, auth *authData) (proof, error) {
	switch auth.Type {
	case stageDummy:
		return proof{}, nil
	case stagePassword:
		return a.tryPassword(ctx, d.requester, auth)
	case stageRegistrationToken:
		return a.tryRegistrationToken(ctx, auth.Token)
	case stageTerms:
		return proof{acceptedTerms: a.o.Terms.Version}, nil
	case stageEmail:
		return a.tryEmail(ctx, d, auth.ThreepidCreds)
	}
	return proof{}, httpapi.Forbidden("%q is completed elsewhere, not by this request", truncate(auth.Type, 100))
}

// emailPurpose is what an address is confirmed for.
func (d *demand) emailPurpose() storage.EmailPurpose {
	if d.operation == registerOperation {
		return storage.EmailForRegistration
	}
	return storage.EmailForPassword
}

// tryEmail is the stage m.login.email.identity: of a new account it confirms the address,
// of one that there is it shows whose it is.
func (a *API) tryEmail(ctx context.Context, d demand, creds threepidCreds) (proof, error) {
	purpose := d.emailPurpose()
	v, err := a.validatedEmail(ctx, creds, purpose)
	if err != nil || purpose == storage.EmailForRegistration {
		return proof{email: v}, err
	}
	unknown := httpapi.Forbidden("No account has this e-mail address")
	owner, err := a.db.ThreepidOwner(ctx, "email", v.Address)
	if errors.Is(err, storage.ErrNotFound) {
		return proof{}, unknown
	}
	if err != nil {
		return proof{}, err
	}
	if user, err := a.db.GetUser(ctx, owner); err != nil {
		return proof{}, err
	} else if user.Locked {
		return proof{}, httpapi.UserLocked()
	}
	// Of several requests one uses the confirmation up.
	if err := a.db.EndEmailValidation(ctx, v.SID); errors.Is(err, storage.ErrNotFound) {
		return proof{}, unknown
	} else if err != nil {
		return proof{}, err
	}
	return proof{userID: owner}, nil
}

// errOtherAccount is why a proof is refused that is right, but somebody else's: trying again
// won't help.
var errOtherAccount = errors.New("it is somebody else's")

func (a *API) tryPassword(ctx context.Context, requester string, auth *authData) (p proof, err error) {
	claimed := requester
	if auth.Identifier != nil || auth.User != "" || requester == "" {
		if claimed, err = a.resolve(ctx, auth.Identifier, auth.User); err != nil {
			return p, err
		}
	}
	user, err := a.checkPassword(ctx, claimed, auth.Password)
	if err != nil {
		return p, err
	}
	if requester != "" && user.ID != requester {
		refused := httpapi.Forbidden("This password belongs to another account")
		refused.Err = errOtherAccount
		return p, refused
	}
	return proof{userID: user.ID, byPassword: nowSignedIn(user)}, nil
}
