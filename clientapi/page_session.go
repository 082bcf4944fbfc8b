package clientapi

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// This file is how people sign in to this server's own pages, on which they let apps use their
// account and manage it.

const (
	signInPath = "/_hearth/sign-in"
	// pageAge is how long somebody stays signed in, maxPageSessions bounds those who are.
	pageAge         = 15 * time.Minute
	maxPageSessions = 10_000
	pageCookie      = "hearth_page"
	// maxPagePath bounds where to go on after signing in, in bytes.
	maxPagePath = 8 << 10
)

// signedIn is somebody who has signed in, with what is stored of the password that they had then: when
// that changes, nothing comes of it any more.
type signedIn struct{ userID, passwordHash string }

func nowSignedIn(user *storage.User) signedIn { return signedIn{user.ID, user.PasswordHash} }

// still refuses who has another password since.
func (s signedIn) still(user *storage.User) error {
	if user.PasswordHash != s.passwordHash {
		return httpapi.Forbidden("The password has changed since")
	}
	return nil
}

func newPageSessions() *expirable.LRU[storage.TokenHash, signedIn] {
	return expirable.NewLRU[storage.TokenHash, signedIn](maxPageSessions, nil, pageAge)
}

// signInPages are those to which signing in leads.
var signInPages = []string{oauthPath + "/authorize", oauthPath + "/link", accountPath}

// localPage reports whether text is the path, with a query, of a page to which signing in leads.
func localPage(text string) bool {
	u, err := url.Parse(text)
	return err == nil && len(text) <= maxPagePath && u.Scheme == "" && u.Host == "" && u.Fragment == "" && slices.Contains(signInPages, u.EscapedPath())
}

// pageToGo is where a form or a query leads on after signing in.
func pageToGo(form url.Values) string {
	if page := form.Get("page"); localPage(page) {
		return page
	}
	return accountPath
}

func (a *API) signInRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: signInPath, Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.getSignIn},
		{Method: "POST", Path: signInPath, Auth: httpapi.AuthNone, Rate: httpapi.RateLogin, MaxBody: maxForm, Handle: a.postSignIn},
	}
}

// pageUser returns who has signed in to this server's pages in a browser; nil for nobody.
func (a *API) pageUser(r *http.Request) (*storage.User, error) {
	c, err := r.Cookie(a.cookieName(pageCookie))
	if err != nil {
		return nil, nil
	}
	session, ok := a.pages.Get(hashToken(c.Value))
	if !ok {
		return nil, nil
	}
	user, err := a.db.GetUser(r.Context(), session.userID)
	if err != nil || user.Deactivated || user.Locked || session.still(user) != nil {
		return nil, err
	}
	return user, nil
}

// startPageSession leads a user on to a page, signed in.
func (a *API) startPageSession(user *storage.User, page string) *httpapi.Reply {
	token, hash := newToken("")
	a.pages.Add(hash, nowSignedIn(user))
	answer := redirect(http.StatusSeeOther, a.baseURL()+page)
	answer.Header.Set("Set-Cookie", a.cookie(pageCookie, token, pageAge).String())
	return answer
}

// endPageSession forgets who has signed in.
func (a *API) endPageSession(r *http.Request) {
	if c, err := r.Cookie(a.cookieName(pageCookie)); err == nil {
		a.pages.Remove(hashToken(c.Value))
	}
}

// askToSignIn leads to the page for it, and from there back to where the request asked for.
func (a *API) askToSignIn(page string) *httpapi.Reply {
	return redirect(http.StatusSeeOther, a.baseURL()+signInPath+"?"+url.Values{"page": {page}}.Encode())
}

var signInTemplate = pageTemplate("signin")

func (a *API) signInPage(status int, page, user, problem string) (*httpapi.Reply, error) {
	data := map[string]any{"Page": page, "User": user, "Problem": problem, "Buttons": a.ssoButtons(a.o.SSO, ssoPurpose{page: page})}
	if a.pageRegisters() {
		data["Register"] = a.registerURL(page)
	}
	return a.page(status, signInTemplate, data, "'self'")
}

// getSignIn shows how to sign in.
func (a *API) getSignIn(r *http.Request, _ *httpapi.Requester) (any, error) {
	return a.signInPage(http.StatusOK, pageToGo(r.URL.Query()), "", "")
}

// postSignIn signs somebody in who has filled the form in.
func (a *API) postSignIn(r *http.Request, _ *httpapi.Requester) (any, error) {
	form, err := a.readForm(r)
	if err != nil {
		return nil, err
	}
	page := pageToGo(form)
	user, err := a.formUser(r, form)
	var refused *httpapi.Error
	if errors.As(err, &refused) && refused.Status < 500 {
		return a.signInPage(http.StatusForbidden, page, form.Get("user"), refused.Message+".")
	}
	if err != nil {
		return nil, err
	}
	return a.startPageSession(user, page), nil
}

// formUser is the account that a user's name, or e-mail address, and password belong to.
func (a *API) formUser(r *http.Request, form url.Values) (*storage.User, error) {
	name := strings.TrimSpace(form.Get("user"))
	id := &identifier{Type: "m.id.user", User: name}
	if strings.Contains(name, "@") && !strings.HasPrefix(name, "@") {
		id = &identifier{Type: "m.id.thirdparty", Medium: "email", Address: name}
	}
	userID, err := a.resolve(r.Context(), id, "")
	if err != nil {
		return nil, err
	}
	return a.checkPassword(r.Context(), userID, form.Get("password"))
}
