package clientapi

import (
	"context"
	"crypto/sha256"
	"errors"
	"net/http"
	"slices"

	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	stageRegistrationToken = "m.login.registration_token"
	stageTerms             = "m.login.terms"

	// maxRegistrationToken bounds a registration token, in bytes.
	maxRegistrationToken = 64
)

// Terms are the documents to which people must agree to make an account. One of the
// URLs may be "".
type Terms struct {
	Version, Language      string
	ServiceURL, PrivacyURL string
}

// registerOperation binds what was proved in interactive authentication to
// registration. The parameters don't count: there is no account yet to misuse,
// and clients ask for the flows before they know them.
var registerOperation = sha256.Sum256([]byte("register"))

// registrationDemand is what it takes to make an account.
func (a *API) registrationDemand() demand {
	var stages []string
	if a.o.RegistrationTokenRequired {
		stages = append(stages, stageRegistrationToken)
	}
	if a.o.Terms != nil {
		stages = append(stages, stageTerms)
	}
	d := demand{operation: registerOperation, what: "make an account", params: map[string]any{}}
	switch {
	case a.o.Mailer != nil && a.o.EmailRequired:
		d.flows = [][]string{append(stages, stageEmail)}
	case a.o.Mailer != nil: // the dummy tells who has no address from who hasn't given it yet
		d.flows = [][]string{append(slices.Clone(stages), stageDummy), append(stages, stageEmail)}
	case len(stages) == 0:
		d.flows = [][]string{{stageDummy}}
	default:
		d.flows = [][]string{stages}
	}
	if a.o.Terms != nil {
		d.params[stageTerms] = map[string]any{"policies": a.o.Terms.policies()}
	}
	return d
}

// policies describes the documents to clients.
//
// https://spec.matrix.org/v1.19/client-server-api/#terms-of-service-at-registration
func (t *Terms) policies() map[string]any {
	all := map[string]any{}
	for _, d := range t.documents() {
		all[d.id] = map[string]any{"version": t.Version, t.Language: map[string]string{"name": d.Name, "url": d.URL}}
	}
	return all
}

// termsDocument is one of the documents.
type termsDocument struct{ id, Name, URL string }

func (t *Terms) documents() (list []termsDocument) {
	for _, d := range []termsDocument{
		{"terms_of_service", "Terms of Service", t.ServiceURL}, {"privacy_policy", "Privacy Policy", t.PrivacyURL},
	} {
		if d.URL != "" {
			list = append(list, d)
		}
	}
	return list
}

// tryRegistrationToken is the stage m.login.registration_token. The token is used up
// when the account is made.
//
// https://spec.matrix.org/v1.19/client-server-api/#token-authenticated-registration
func (a *API) tryRegistrationToken(ctx context.Context, token string) (proof, error) {
	good, err := a.goodRegistrationToken(ctx, token)
	if err != nil {
		return proof{}, err
	}
	if !good {
		return proof{}, httpapi.Forbidden("This registration token is not valid")
	}
	return proof{registrationToken: token}, nil
}

func (a *API) goodRegistrationToken(ctx context.Context, token string) (bool, error) {
	if token == "" || len(token) > maxRegistrationToken || !isText(token) {
		return false, nil
	}
	return a.db.RegistrationTokenIsGood(ctx, token)
}

// getTokenValidity is GET /register/m.login.registration_token/validity.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1registermloginregistration_tokenvalidity
func (a *API) getTokenValidity(r *http.Request, _ *httpapi.Requester) (any, error) {
	if !a.o.RegistrationEnabled {
		return nil, registrationClosed()
	}
	if !r.URL.Query().Has("token") {
		return nil, httpapi.MissingParam("The token is missing")
	}
	good, err := a.goodRegistrationToken(r.Context(), r.URL.Query().Get("token"))
	return map[string]bool{"valid": good}, err
}

// guestUpgrade finds the guest whose account is to become a full one.
//
// https://spec.matrix.org/v1.19/client-server-api/#guest-access
func (a *API) guestUpgrade(ctx context.Context, body *registration) (userID string, err error) {
	guest, err := a.sessions.authenticate(ctx, body.GuestAccessToken)
	var refused *httpapi.Error
	switch {
	case errors.As(err, &refused):
		return "", httpapi.Forbidden("The guest_access_token is not valid")
	case err != nil:
		return "", err
	case !guest.Guest || guest.Locked || guest.UserID != "@"+body.Username+":"+a.serverName:
		return "", httpapi.Forbidden("The guest_access_token is not of a guest with this username")
	}
	return guest.UserID, nil
}

// registrationError is the Matrix error for what storage refuses.
func registrationError(err error) error {
	switch {
	case errors.Is(err, storage.ErrUserExists):
		return userInUse()
	case errors.Is(err, storage.ErrNoRegistration):
		return httpapi.Forbidden("The registration token is no longer valid")
	case errors.Is(err, storage.ErrThreepidInUse):
		return threepidInUse()
	case errors.Is(err, storage.ErrNotFound):
		return httpapi.Forbidden("This guest account is no more")
	}
	return err
}
