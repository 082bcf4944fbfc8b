package clientapi

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/mail"
	"net/url"
	"regexp"
	"strings"

	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	stageEmail = "m.login.email.identity"
	// confirmPath is where the links in mails lead.
	confirmPath = "/_hearth/email/confirm"
	// maxAddress and maxNextLink bound what clients give, in bytes.
	maxAddress, maxNextLink = 320, 2000
)

// mailLimit is how many mails one address is sent, when requests are limited at all.
var mailLimit = httpapi.Limit{PerSecond: 1.0 / 600, Burst: 5}

// emailRoutes are those that ask the owner of an address to confirm it. Phone numbers
// can't be.
func (a *API) emailRoutes() []httpapi.Route {
	route := func(path string, handle func(*http.Request, *httpapi.Requester) (any, error)) httpapi.Route {
		return httpapi.Route{Method: "POST", Path: path, Auth: httpapi.AuthNone, Rate: httpapi.RateLogin, Handle: handle}
	}
	return []httpapi.Route{
		route("/register/email/requestToken", a.requestEmail(storage.EmailForRegistration)),
		route("/account/3pid/email/requestToken", a.requestEmail(storage.EmailForAccount)),
		route("/account/password/email/requestToken", a.requestEmail(storage.EmailForPassword)),
		route("/register/msisdn/requestToken", noPhones),
		route("/account/3pid/msisdn/requestToken", noPhones),
		route("/account/password/msisdn/requestToken", noPhones),
	}
}

func mediumNotSupported(what string) error {
	return httpapi.New(http.StatusBadRequest, "M_THREEPID_MEDIUM_NOT_SUPPORTED", "This server does nothing with %s", what)
}

func noPhones(*http.Request, *httpapi.Requester) (any, error) {
	return nil, mediumNotSupported("phone numbers")
}

// emailRequest is the body of the requests for confirming an address.
type emailRequest struct {
	ClientSecret string `json:"client_secret"`
	Email        string `json:"email"`
	SendAttempt  *int32 `json:"send_attempt"`
	NextLink     string `json:"next_link"`
}

var clientSecret = regexp.MustCompile(`^[0-9a-zA-Z.=_-]{1,255}$`)

// check refuses what is out of bounds and brings the address into its canonical form.
func (b *emailRequest) check() (err error) {
	switch {
	case b.ClientSecret == "" || b.Email == "" || b.SendAttempt == nil:
		return httpapi.MissingParam("client_secret, email and send_attempt must be there")
	case !clientSecret.MatchString(b.ClientSecret):
		return httpapi.InvalidParam("client_secret must be 1 to 255 of the characters 0-9 a-z A-Z . = _ -")
	}
	if b.Email, err = canonicalEmail(b.Email); err != nil {
		return err
	}
	if u, err := url.Parse(b.NextLink); b.NextLink != "" && (err != nil || len(b.NextLink) > maxNextLink || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		return httpapi.InvalidParam("next_link is no web address")
	}
	return nil
}

// canonicalEmail is the one spelling of an address.
//
// https://spec.matrix.org/v1.19/appendices/#e-mail
func canonicalEmail(given string) (string, error) {
	parsed, err := mail.ParseAddress(given)
	if err != nil || parsed.Address != given || len(given) > maxAddress || strings.ContainsAny(given, " \t\r\n\"<>,;") || !isText(given) {
		return "", httpapi.InvalidParam("This is no e-mail address")
	}
	return strings.ToLower(given), nil
}

// requestEmail answers POST …/email/requestToken. Whether an account has the address is
// told to nobody but its owner: a mail is sent in any case.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3registeremailrequesttoken
func (a *API) requestEmail(purpose storage.EmailPurpose) func(*http.Request, *httpapi.Requester) (any, error) {
	return func(r *http.Request, _ *httpapi.Requester) (any, error) {
		var body emailRequest
		if err := httpapi.DecodeJSON(r, &body); err != nil {
			return nil, err
		}
		if a.o.Mailer == nil {
			return nil, mediumNotSupported("e-mail addresses")
		}
		if purpose == storage.EmailForRegistration && !a.o.RegistrationEnabled {
			return nil, registrationClosed()
		}
		if err := body.check(); err != nil {
			return nil, err
		}
		v := &storage.EmailValidation{ClientSecret: body.ClientSecret, Address: body.Email, Purpose: purpose, NextLink: body.NextLink}
		err := a.beginConfirmation(r.Context(), v, int(*body.SendAttempt))
		return map[string]string{"sid": v.SID}, err
	}
}

// beginConfirmation asks the owner of an address to confirm it, unless they were by this attempt.
func (a *API) beginConfirmation(ctx context.Context, v *storage.EmailValidation, attempt int) error {
	v.SID, v.Token = rand.Text(), rand.Text()+rand.Text()
	send, err := a.db.RequestEmailValidation(ctx, v, attempt)
	if err == nil && send {
		err = a.sendConfirmation(ctx, v, attempt)
	}
	return err
}

func (a *API) sendConfirmation(ctx context.Context, v *storage.EmailValidation, attempt int) error {
	err := a.mails.Take(v.Address)
	if err == nil {
		var owner string
		owner, err = a.db.ThreepidOwner(ctx, "email", v.Address)
		if err == nil || errors.Is(err, storage.ErrNotFound) {
			subject, text := a.confirmationMail(v, owner)
			err = a.o.Mailer.Send(ctx, v.Address, subject, text)
		}
	}
	if err == nil {
		return nil
	}
	if undo := a.db.EmailNotSent(context.WithoutCancel(ctx), v.SID, attempt); undo != nil {
		a.log.Error("taking an attempt to send mail back failed", "err", undo)
	}
	var refused *httpapi.Error
	if errors.As(err, &refused) || ctx.Err() != nil {
		return err
	}
	a.log.Error("a mail could not be sent", "err", err)
	return httpapi.Unavailable(0, "The mail could not be sent; try again later")
}

// confirmationMail is what the owner of an address is told: how to confirm it or, where
// that would be of no use, why not.
func (a *API) confirmationMail(v *storage.EmailValidation, owner string) (subject, text string) {
	link := strings.TrimSuffix(a.o.PublicBaseURL, "/") + confirmPath + "?" + url.Values{"sid": {v.SID}, "token": {v.Token}}.Encode()
	ignore := "\n\nIf it wasn't you, there is nothing for you to do.\n"
	switch {
	case v.Purpose == storage.EmailForPassword && owner == "":
		return "No account with this address", "Somebody asked for a new password on " + a.serverName +
			" with this e-mail address.\nBut no account there has it: perhaps yours has another one." + ignore
	case v.Purpose == storage.EmailForPassword:
		return "A new password on " + a.serverName, "Somebody asked for a new password for your account " + owner +
			".\nIf that was you, confirm it here within a day:\n\n" + link + "\n\nIf it wasn't you, don't follow the link: who asked could then take over your account.\n"
	case owner != "":
		return "You have an account on " + a.serverName, "Somebody wanted to use this e-mail address for an account on " + a.serverName +
			".\nBut your account " + owner + " has it already. If you have forgotten its password,\nyour app lets you set a new one." + ignore
	}
	return "Your e-mail address on " + a.serverName, "Somebody wants to use this e-mail address for an account on " + a.serverName +
		".\nIf that was you, confirm it here within a day:\n\n" + link + ignore
}

// validatedEmail returns the confirmed address that a client's credentials stand for.
func (a *API) validatedEmail(ctx context.Context, creds threepidCreds, purpose storage.EmailPurpose) (*storage.EmailValidation, error) {
	refused := httpapi.New(http.StatusForbidden, "M_THREEPID_AUTH_FAILED", "The e-mail address has not been confirmed")
	if creds.SID == "" || creds.ClientSecret == "" {
		return nil, httpapi.MissingParam("sid and client_secret must be there")
	}
	if !isText(creds.SID) {
		return nil, refused
	}
	v, err := a.db.GetEmailValidation(ctx, creds.SID)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	if v.Purpose != purpose || v.ValidatedAt.IsZero() || subtle.ConstantTimeCompare([]byte(v.ClientSecret), []byte(creds.ClientSecret)) != 1 {
		return nil, refused
	}
	return v, nil
}

var confirmTemplate = pageTemplate("confirm")

// confirmRoutes are those of the page to which the links in mails lead. It asks once
// more: programs that look at mails follow links too.
func (a *API) confirmRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: confirmPath, Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.confirmEmail},
		{Method: "POST", Path: confirmPath, Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, MaxBody: 16 << 10, Handle: a.confirmEmail},
	}
}

// confirmEmail shows what is to be confirmed and, when that is submitted, does it.
func (a *API) confirmEmail(r *http.Request, _ *httpapi.Requester) (any, error) {
	if _, err := a.readForm(r); err != nil {
		return nil, err
	}
	sid, token := r.Form.Get("sid"), r.Form.Get("token")
	data := map[string]any{"SID": sid, "Token": token}
	v := &storage.EmailValidation{}
	var err error = storage.ErrNotFound
	if isText(sid) {
		v, err = a.db.GetEmailValidation(r.Context(), sid)
	}
	if errors.Is(err, storage.ErrNotFound) || err == nil && subtle.ConstantTimeCompare([]byte(v.Token), []byte(token)) != 1 {
		return a.page(http.StatusNotFound, confirmTemplate, data, "'none'")
	}
	if err != nil {
		return nil, err
	}
	data["Address"], data["Password"], data["NextLink"] = v.Address, v.Purpose == storage.EmailForPassword, v.NextLink
	trusted := a.trustedClient(v.NextLink)
	if r.Method != http.MethodPost {
		action := "'self'"
		if u, err := url.Parse(v.NextLink); err == nil && trusted {
			action = formTarget(u)
		}
		return a.page(http.StatusOK, confirmTemplate, data, action)
	}
	if err := a.db.ConfirmEmail(r.Context(), sid); err != nil {
		return nil, err
	}
	if trusted {
		return &httpapi.Reply{Status: http.StatusSeeOther, Header: http.Header{"Location": {v.NextLink}}}, nil
	}
	data["Confirmed"] = true
	return a.page(http.StatusOK, confirmTemplate, data, "'none'")
}

// trustedClient reports whether the configuration names the client at a URL as one to
// which people may be led without being asked.
func (a *API) trustedClient(link string) bool {
	u, err := url.Parse(link)
	if err != nil || u.User != nil || u.Opaque != "" || u.Host == "" {
		return false
	}
	for _, trusted := range a.o.ClientURLs {
		t, err := url.Parse(trusted)
		if err != nil || u.Scheme != t.Scheme || !strings.EqualFold(u.Host, t.Host) {
			continue
		}
		prefix := strings.TrimSuffix(t.EscapedPath(), "/")
		// Browsers take %2e for a dot when they go back.
		if p := u.EscapedPath(); p == prefix || strings.HasPrefix(p, prefix+"/") && !strings.Contains(u.Path, "..") {
			return true
		}
	}
	return false
}
