package clientapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"hearth/internal/httpapi"
	"hearth/internal/idp"
)

// These files are single sign-on: people show who they are at a provider of OpenID Connect.
//
// https://spec.matrix.org/v1.19/client-server-api/#sso-client-loginauthentication

const (
	stageSSO = "m.login.sso"
	ssoPath  = "/_hearth/sso"
	// SSOCallbackPath is where providers lead people back to, below the public base URL.
	SSOCallbackPath = ssoPath + "/callback"
)

// ssoRedirectRoutes are where clients lead people.
func (a *API) ssoRedirectRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/login/sso/redirect", Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.getSSORedirect},
		{Method: "GET", Path: "/login/sso/redirect/{idpId}", Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.getSSORedirect},
	}
}

// ssoRoutes are those of this server's pages; none without providers.
func (a *API) ssoRoutes() []httpapi.Route {
	if len(a.o.SSO) == 0 {
		return nil
	}
	return []httpapi.Route{
		{Method: "GET", Path: ssoPath + "/begin", Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.getSSOBegin},
		{Method: "GET", Path: SSOCallbackPath, Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.getSSOCallback},
		{Method: "POST", Path: ssoPath + "/confirm", Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, MaxBody: maxForm, Handle: a.postSSOConfirm},
	}
}

// ssoFlow is how GET /login announces the providers.
//
// https://spec.matrix.org/v1.19/client-server-api/#definition-mloginsso-flow-schema
func (a *API) ssoFlow() map[string]any {
	providers := make([]map[string]string, 0, len(a.o.SSO))
	for _, p := range a.o.SSO {
		described := map[string]string{"id": p.ID, "name": p.Name}
		if p.Brand != "" {
			described["brand"] = p.Brand
		}
		if p.Icon != "" {
			described["icon"] = p.Icon
		}
		providers = append(providers, described)
	}
	return map[string]any{"type": stageSSO, "identity_providers": providers}
}

// ssoProvider returns the provider with an id, nil for none.
func (a *API) ssoProvider(id string) *idp.Provider {
	for _, p := range a.o.SSO {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// baseURL is that of this server without a slash at its end.
func (a *API) baseURL() string { return strings.TrimSuffix(a.o.PublicBaseURL, "/") }

// beginURL is where somebody begins to sign in at a provider.
func (a *API) beginURL(p *idp.Provider, then ssoPurpose) string {
	query := then.query()
	query.Set("provider", p.ID)
	return a.baseURL() + ssoPath + "/begin?" + query.Encode()
}

// ssoButton is a link to a provider.
type ssoButton struct{ Name, URL string }

func (a *API) ssoButtons(providers []*idp.Provider, then ssoPurpose) []ssoButton {
	buttons := make([]ssoButton, 0, len(providers))
	for _, p := range providers {
		buttons = append(buttons, ssoButton{p.Name, a.beginURL(p, then)})
	}
	return buttons
}

var ssoTemplate = pageTemplate("sso")

// ssoPage tells of a sign-in that goes no further.
func (a *API) ssoPage(status int, problem string) (*httpapi.Reply, error) {
	return a.page(status, ssoTemplate, map[string]any{"Problem": problem}, "'none'")
}

// getSSORedirect is GET /login/sso/redirect and GET /login/sso/redirect/{idpId}. The browser goes
// on at the public base URL, where it is recognised again when the provider leads it back.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3loginssoredirect
func (a *API) getSSORedirect(r *http.Request, _ *httpapi.Requester) (any, error) {
	query := r.URL.Query()
	switch {
	case len(a.o.SSO) == 0:
		return nil, httpapi.NotFound("This server has no single sign-on")
	case !query.Has("redirectUrl"):
		return nil, httpapi.MissingParam("The redirectUrl is missing")
	case clientRedirect(query.Get("redirectUrl")) == nil:
		return nil, httpapi.InvalidParam("The redirectUrl is no address of a client")
	}
	then := ssoPurpose{redirectURL: query.Get("redirectUrl")}
	providers := a.o.SSO
	if id := httpapi.Var(r, "idpId"); id != "" {
		p := a.ssoProvider(id)
		if p == nil {
			return a.ssoPage(http.StatusNotFound, "This server doesn't know the place where you are to sign in. Go back to your app and try again.")
		}
		providers = []*idp.Provider{p}
	}
	if len(providers) == 1 {
		return redirect(http.StatusFound, a.beginURL(providers[0], then)), nil
	}
	return a.page(http.StatusOK, ssoTemplate, map[string]any{"Buttons": a.ssoButtons(providers, then)}, "'none'")
}

func redirect(status int, to string) *httpapi.Reply {
	return &httpapi.Reply{Status: status, Header: http.Header{"Location": {to}, "Cache-Control": {"no-store"}, "Referrer-Policy": {"no-referrer"}}}
}

// browserSchemes are those that mean something to browsers themselves, and so no app.
var browserSchemes = []string{"javascript", "data", "vbscript", "file", "blob", "filesystem", "about", "view-source", "ws", "wss", "ftp", "mailto", "tel"}

// clientRedirect reads the address of a client, which may be an app's own scheme; nil if it is
// none.
func clientRedirect(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil || len(text) > maxNextLink || !isText(text) || u.Scheme == "" || u.User != nil || slices.Contains(browserSchemes, u.Scheme) {
		return nil
	}
	if (u.Scheme == "https" || u.Scheme == "http") && !plainHost.MatchString(u.Host) {
		return nil
	}
	return u
}

// withLoginToken is the client's address with a token to log in with.
func withLoginToken(u url.URL, token string) string {
	const name = "loginToken"
	var kept []string
	for part := range strings.SplitSeq(u.RawQuery, "&") {
		key, _, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(key); part != "" && (err != nil || plain != name) {
			kept = append(kept, part)
		}
	}
	u.RawQuery = strings.Join(append(kept, name+"="+url.QueryEscape(token)), "&")
	return u.String()
}
