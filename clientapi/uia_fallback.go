package clientapi

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// fallbackRoutes are the pages on which a browser completes a stage that an app can't.
//
// https://spec.matrix.org/v1.19/client-server-api/#fallback
func (a *API) fallbackRoutes() []httpapi.Route {
	const path = "/auth/{stage}/fallback/web"
	return []httpapi.Route{
		{Method: "GET", Path: path, Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.getFallback},
		{Method: "POST", Path: path, Auth: httpapi.AuthNone, Rate: httpapi.RateLogin, MaxBody: 16 << 10, Handle: a.postFallback},
	}
}

var fallbackTemplate = pageTemplate("fallback")

// authDone tells the app that the stage is complete, in the specification's words.
const authDone = `
if (window.onAuthDone) {
    window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
    window.opener.postMessage("authDone", "*");
}
`

// authDonePolicy allows this one script.
var authDonePolicy = scriptPolicy(authDone)

// scriptPolicy allows one script.
func scriptPolicy(script string) string {
	sum := sha256.Sum256([]byte(script))
	return "script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// waiting returns the session in progress with an id whose next stage this is, nil if there
// is none.
func (ia *interactiveAuth) waiting(id, stage string) *authSession {
	s, ok := ia.sessions.Get(id)
	if !ok {
		return nil
	}
	ia.mu.Lock()
	defer ia.mu.Unlock()
	if d := (demand{flows: s.flows}); s.ended || !d.isNext(s.completed, stage) {
		return nil
	}
	return s
}

// demandOf is what the session is for.
func (ia *interactiveAuth) demandOf(s *authSession) demand {
	ia.mu.Lock()
	defer ia.mu.Unlock()
	return demand{operation: s.operation, requester: s.requester, flows: s.flows}
}

// fallback shows the page; problem, unless "", says why the last attempt was no good, and sent, unless
// nil, that the owner of an address has been sent a mail.
func (a *API) fallback(stage, session, problem string, sent *storage.EmailValidation) (*httpapi.Reply, error) {
	data := map[string]any{"Stage": stage, "Session": session, "Problem": problem, "Sent": sent}
	status := http.StatusOK
	s := a.auth.waiting(session, stage)
	switch {
	case s == nil:
		data["Stage"] = ""
		return a.page(http.StatusNotFound, fallbackTemplate, data, "'none'")
	case problem != "":
		status = http.StatusForbidden
	}
	data["What"], data["User"] = s.what, s.requester
	if stage == stageTerms && a.o.Terms != nil {
		data["Documents"] = a.o.Terms.documents()
	}
	return a.page(status, fallbackTemplate, data, "'self'")
}

// pageStages are the stages that can be completed on this page.
var pageStages = []string{stageDummy, stageTerms, stageRegistrationToken, stagePassword, stageEmail}

func noPage() error {
	return httpapi.NotFound("There is no page for this stage: the app has to complete it")
}

// getFallback is GET /auth/{stage}/fallback/web.
func (a *API) getFallback(r *http.Request, _ *httpapi.Requester) (any, error) {
	stage := httpapi.Var(r, "stage")
	switch {
	case stage == stageSSO:
		return a.ssoFallback(r)
	case stage == stageOAuth && a.auth.waiting(r.URL.Query().Get("session"), stage) != nil:
		q := accountQuery{Action: actionReset, Session: r.URL.Query().Get("session")}
		return redirect(http.StatusFound, a.baseURL()+q.page()), nil
	case !slices.Contains(pageStages, stage):
		return nil, noPage()
	}
	return a.fallback(stage, r.URL.Query().Get("session"), "", nil)
}

// postFallback completes the stage.
func (a *API) postFallback(r *http.Request, _ *httpapi.Requester) (any, error) {
	form, err := a.readForm(r)
	if err != nil {
		return nil, err
	}
	stage, session := httpapi.Var(r, "stage"), form.Get("session")
	if !slices.Contains(pageStages, stage) {
		return nil, noPage()
	}
	s := a.auth.waiting(session, stage)
	if s == nil {
		return a.fallback(stage, session, "", nil)
	}
	d := a.auth.demandOf(s)
	if stage == stageEmail && form.Has("email") {
		return a.fallbackMail(r, d, session, form.Get("email"))
	}
	auth := &authData{Type: stage, Token: strings.TrimSpace(form.Get("token")), User: form.Get("user"), Password: form.Get("password"),
		ThreepidCreds: threepidCreds{SID: form.Get("sid"), ClientSecret: form.Get("secret")}}
	proved, err := a.tryStage(r.Context(), d, auth)
	var refused *httpapi.Error
	if errors.As(err, &refused) && refused.Status < 500 {
		var sent *storage.EmailValidation
		if stage == stageEmail {
			sent = &storage.EmailValidation{Address: form.Get("address"), SID: auth.ThreepidCreds.SID, ClientSecret: auth.ThreepidCreds.ClientSecret}
		}
		return a.fallback(stage, session, refused.Message+".", sent)
	}
	if err != nil {
		return nil, err
	}
	a.auth.complete(s, d, stage, proved)
	return a.authDonePage()
}

// fallbackMail sends a mail to who is to confirm an address, with which the page goes on.
func (a *API) fallbackMail(r *http.Request, d demand, session, given string) (any, error) {
	v := &storage.EmailValidation{ClientSecret: rand.Text(), Purpose: d.emailPurpose()}
	err := error(nil)
	if a.o.Mailer == nil {
		err = mediumNotSupported("e-mail addresses")
	} else if v.Address, err = canonicalEmail(strings.TrimSpace(given)); err == nil {
		err = httpapi.Charge(r, nil, httpapi.RateLogin)
	}
	if err == nil {
		err = a.beginConfirmation(r.Context(), v, 1)
	}
	var refused *httpapi.Error
	if errors.As(err, &refused) {
		return a.fallback(stageEmail, session, refused.Message+".", nil)
	}
	if err != nil {
		return nil, err
	}
	return a.fallback(stageEmail, session, "", v)
}

// authDonePage tells the app that the stage is complete.
func (a *API) authDonePage() (*httpapi.Reply, error) {
	answer, err := a.page(http.StatusOK, fallbackTemplate, map[string]any{"Done": true, "Script": template.JS(authDone)}, "'none'")
	if err != nil {
		return nil, err
	}
	answer.Header.Set("Content-Security-Policy", authDonePolicy+"; "+answer.Header.Get("Content-Security-Policy"))
	return answer, nil
}
