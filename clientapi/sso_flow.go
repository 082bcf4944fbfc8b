package clientapi

import (
	"crypto/rand"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"hearth/internal/httpapi"
	"hearth/internal/idp"
	"hearth/storage"
)

const (
	// ssoAge is how long somebody may take to sign in, maxSSOFlows bounds those who are
	// about to.
	ssoAge      = 15 * time.Minute
	maxSSOFlows = 10_000
	// ssoCookie recognises a browser that a provider leads back.
	ssoCookie = "hearth_sso"
	// maxSSOError bounds what the log has of a provider's answer that was none, in bytes.
	maxSSOError = 1000
	// maxForm bounds the forms of this server's pages, in bytes.
	maxForm = 16 << 10
)

// ssoPurpose is what somebody signs in for: one of its fields is set.
type ssoPurpose struct {
	// redirectURL is a client's, which gets a login token.
	redirectURL string
	// session is one of interactive authentication, whose stage it completes.
	session string
	// page is one of this server's, to be led to signed in.
	page string
}

func (p ssoPurpose) query() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"redirectUrl": p.redirectURL, "session": p.session, "page": p.page} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q
}

// ssoSignIn is a sign-in that is under way.
type ssoSignIn struct {
	provider *idp.Provider
	// browser is who began it: no other can end it.
	browser storage.TokenHash
	purpose ssoPurpose
	// nonce and verifier bind the provider's answer to it.
	nonce, verifier string
	// identity is who somebody has shown to be, once they have.
	identity *idp.Identity
}

// ssoSignIns are those under way. What is lost with the process is begun again.
type ssoSignIns struct {
	mu sync.Mutex
	// byState are those at the provider, byToken those to be confirmed.
	byState, byToken *expirable.LRU[string, *ssoSignIn]
}

func newSSOSignIns() *ssoSignIns {
	return &ssoSignIns{byState: expirable.NewLRU[string, *ssoSignIn](maxSSOFlows, nil, ssoAge),
		byToken: expirable.NewLRU[string, *ssoSignIn](maxSSOFlows, nil, ssoAge)}
}

// take returns what a browser has begun, and ends it; nil if there is nothing.
func (s *ssoSignIns) take(of *expirable.LRU[string, *ssoSignIn], key string, browser storage.TokenHash) *ssoSignIn {
	s.mu.Lock()
	defer s.mu.Unlock()
	in, ok := of.Get(key)
	if !ok || in.browser != browser {
		return nil
	}
	of.Remove(key)
	return in
}

// cookie makes one of this server's pages' cookies. Over HTTPS no other host can set it.
func (a *API) cookie(name, value string, age time.Duration) *http.Cookie {
	secure := strings.HasPrefix(a.o.PublicBaseURL, "https:")
	return &http.Cookie{Name: a.cookieName(name), Value: value, Path: "/", MaxAge: int(age.Seconds()),
		Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode}
}

func (a *API) cookieName(name string) string {
	if strings.HasPrefix(a.o.PublicBaseURL, "https:") {
		return "__Host-" + name
	}
	return name
}

// browserOf recognises a browser by its cookie.
func (a *API) browserOf(r *http.Request) (browser storage.TokenHash, known bool) {
	c, err := r.Cookie(a.cookieName(ssoCookie))
	if err != nil || len(c.Value) < 26 {
		return browser, false
	}
	return hashToken(c.Value), true
}

// getSSOBegin leads a browser to a provider.
func (a *API) getSSOBegin(r *http.Request, _ *httpapi.Requester) (any, error) {
	query := r.URL.Query()
	p := a.ssoProvider(query.Get("provider"))
	then := ssoPurpose{redirectURL: query.Get("redirectUrl"), session: query.Get("session"), page: query.Get("page")}
	if p == nil || len(then.query()) != 1 || !a.ssoPossible(then) {
		return a.ssoPage(http.StatusBadRequest, "This link is no good. Go back to your app and try again.")
	}
	in := &ssoSignIn{provider: p, purpose: then, nonce: rand.Text(), verifier: rand.Text() + rand.Text()}
	state := rand.Text()
	location, err := p.AuthURL(r.Context(), state, in.nonce, in.verifier)
	if err != nil {
		return a.ssoFailed(r, p, err)
	}
	answer := redirect(http.StatusFound, location)
	var known bool
	if in.browser, known = a.browserOf(r); !known {
		value := rand.Text()
		in.browser = hashToken(value)
		answer.Header.Add("Set-Cookie", a.cookie(ssoCookie, value, time.Hour).String())
	}
	a.sso.byState.Add(state, in)
	return answer, nil
}

// ssoPossible reports whether there is something to sign in for.
func (a *API) ssoPossible(then ssoPurpose) bool {
	switch {
	case then.session != "":
		return a.auth.waiting(then.session, stageSSO) != nil
	case then.page != "":
		return a.o.OAuthKey != nil && localPage(then.page)
	}
	return clientRedirect(then.redirectURL) != nil
}

// ssoFailed says that a provider couldn't tell who somebody is. Why is for the log: it isn't the
// user's doing.
func (a *API) ssoFailed(r *http.Request, p *idp.Provider, err error) (any, error) {
	if r.Context().Err() != nil {
		return nil, err
	}
	if errors.Is(err, idp.ErrDenied) {
		a.log.Info("a provider has not signed somebody in", "provider", p.ID, "request", httpapi.RequestID(r.Context()), "err", truncate(err.Error(), maxSSOError))
		return a.ssoPage(http.StatusForbidden, p.Name+" has not signed you in. Go back to your app and try again.")
	}
	a.log.Warn("signing in by a provider failed", "provider", p.ID, "request", httpapi.RequestID(r.Context()), "err", truncate(err.Error(), maxSSOError))
	return a.ssoPage(http.StatusBadGateway, "Signing in by "+p.Name+" didn't succeed. Go back to your app and try again.")
}

// getSSOCallback is where a provider leads people back to.
func (a *API) getSSOCallback(r *http.Request, _ *httpapi.Requester) (any, error) {
	query := r.URL.Query()
	browser, _ := a.browserOf(r)
	in := a.sso.take(a.sso.byState, query.Get("state"), browser)
	if in == nil {
		return a.ssoPage(http.StatusBadRequest, "This sign-in is no longer good, or was begun in another browser. Go back to your app and try again.")
	}
	var err error
	if in.identity, err = in.provider.Finish(r.Context(), query, in.nonce, in.verifier); err != nil {
		return a.ssoFailed(r, in.provider, err)
	}
	return a.ssoArrived(r, in)
}

// ssoFallback leads somebody to where they complete the stage m.login.sso.
//
// https://spec.matrix.org/v1.19/client-server-api/#sso-during-user-interactive-authentication
func (a *API) ssoFallback(r *http.Request) (any, error) {
	s := a.auth.waiting(r.URL.Query().Get("session"), stageSSO)
	if s == nil {
		return a.fallback(stageSSO, "", "", nil)
	}
	m, err := a.db.SignInMethods(r.Context(), s.requester, "")
	if err != nil {
		return nil, err
	}
	providers, then := a.ssoProvidersOf(m), ssoPurpose{session: s.id}
	if len(providers) == 1 {
		return redirect(http.StatusFound, a.beginURL(providers[0], then)), nil
	}
	return a.page(http.StatusOK, ssoTemplate, map[string]any{"Buttons": a.ssoButtons(providers, then)}, "'none'")
}
