package clientapi

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"hearth/internal/httpapi"
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

//go:embed fallback.html
var fallbackText string

var fallbackTemplate = template.Must(template.New("fallback").Parse(fallbackText))

// authDone tells the app that the stage is complete, in the specification's words.
const authDone = `
if (window.onAuthDone) {
    window.onAuthDone();
} else if (window.opener && window.opener.postMessage) {
    window.opener.postMessage("authDone", "*");
}
`

// authDonePolicy allows this one script.
var authDonePolicy = func() string {
	sum := sha256.Sum256([]byte(authDone))
	return "script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}()

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

// fallback shows the page; problem, unless "", says why the last attempt was no good.
func (a *API) fallback(stage, session, problem string) (*httpapi.Reply, error) {
	data := map[string]any{"ServerName": a.serverName, "Stage": stage, "Session": session, "Problem": problem}
	status := http.StatusOK
	switch s := a.auth.waiting(session, stage); {
	case s == nil:
		data["Stage"] = ""
		status = http.StatusNotFound
	case stage == stageTerms && a.o.Terms != nil:
		data["Documents"] = a.o.Terms.documents()
	case problem != "":
		status = http.StatusForbidden
	}
	return page(status, fallbackTemplate, data, "'self'")
}

// pageStages are the stages that can be completed on a page. A password is for the app alone to
// ask for: who is led to a page can't know what for.
var pageStages = []string{stageDummy, stageTerms, stageRegistrationToken}

// getFallback is GET /auth/{stage}/fallback/web.
func (a *API) getFallback(r *http.Request, _ *httpapi.Requester) (any, error) {
	stage := httpapi.Var(r, "stage")
	if !slices.Contains(pageStages, stage) {
		return nil, httpapi.NotFound("There is no page for this stage: the app has to complete it")
	}
	return a.fallback(stage, r.URL.Query().Get("session"), "")
}

// postFallback completes the stage.
func (a *API) postFallback(r *http.Request, _ *httpapi.Requester) (any, error) {
	if err := r.ParseForm(); err != nil {
		return nil, httpapi.InvalidParam("The form can't be read")
	}
	stage, session := httpapi.Var(r, "stage"), r.PostForm.Get("session")
	s := a.auth.waiting(session, stage)
	if s == nil || !slices.Contains(pageStages, stage) {
		return a.fallback(stage, session, "")
	}
	d := a.auth.demandOf(s)
	proved, err := a.tryStage(r.Context(), d, &authData{Type: stage, Token: strings.TrimSpace(r.PostForm.Get("token"))})
	var refused *httpapi.Error
	if errors.As(err, &refused) && refused.Status == http.StatusForbidden {
		return a.fallback(stage, session, refused.Message)
	}
	if err != nil {
		return nil, err
	}
	a.auth.complete(s, d, stage, proved)
	answer, err := page(http.StatusOK, fallbackTemplate, map[string]any{"ServerName": a.serverName, "Done": true, "Script": template.JS(authDone)}, "'none'")
	if err != nil {
		return nil, err
	}
	answer.Header.Set("Content-Security-Policy", authDonePolicy+"; "+answer.Header.Get("Content-Security-Policy"))
	return answer, nil
}
