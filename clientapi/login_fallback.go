package clientapi

import (
	"html/template"
	"net/http"
	"net/url"

	"hearth/internal/httpapi"
)

// loginFallbackPath is where apps lead people that know none of the ways to log in.
const loginFallbackPath = "/_matrix/static/client/login/"

func (a *API) loginFallbackRoutes() []httpapi.Route {
	return []httpapi.Route{{Method: "GET", Path: loginFallbackPath, Auth: httpapi.AuthNone, Handle: a.getLoginFallback}}
}

var (
	loginTemplate = pageTemplate("login")
	loginScript   = func() string {
		text, err := pageFiles.ReadFile("pages/login.js")
		if err != nil {
			panic(err) // only for a file that isn't embedded
		}
		return string(text)
	}()
)

// getLoginFallback is GET /_matrix/static/client/login/: a page that logs somebody in and tells the
// app.
//
// https://spec.matrix.org/v1.19/client-server-api/#login-fallback
func (a *API) getLoginFallback(*http.Request, *httpapi.Requester) (any, error) {
	var buttons []ssoButton
	for _, p := range a.o.SSO {
		buttons = append(buttons, ssoButton{p.Name, "/_matrix/client/v3/login/sso/redirect/" + url.PathEscape(p.ID)})
	}
	answer, err := a.page(http.StatusOK, loginTemplate, map[string]any{"Buttons": buttons, "Script": template.JS(loginScript)}, "'none'")
	if err != nil {
		return nil, err
	}
	answer.Header.Set("Content-Security-Policy", scriptPolicy(loginScript)+"; connect-src 'self'; "+answer.Header.Get("Content-Security-Policy"))
	return answer, nil
}
