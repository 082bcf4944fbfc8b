package clientapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// registerPath is the page on which people make an account, where clients of the OAuth 2.0 API
// lead them.
//
// https://spec.matrix.org/v1.19/client-server-api/#user-registration
const registerPath = "/_hearth/register"

// pageRegisters reports whether people can make an account on the page. To confirm an address they
// need a client.
func (a *API) pageRegisters() bool {
	return a.o.RegistrationEnabled && !(a.o.Mailer != nil && a.o.EmailRequired)
}

func (a *API) registerPageRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: registerPath, Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.getRegisterPage},
		{Method: "POST", Path: registerPath, Auth: httpapi.AuthNone, Rate: httpapi.RateRegister, MaxBody: maxForm, Handle: a.postRegisterPage},
	}
}

// registerURL leads from the page to making an account, and back.
func (a *API) registerURL(page string) string {
	return a.baseURL() + registerPath + "?" + url.Values{"page": {page}}.Encode()
}

var registerTemplate = pageTemplate("register")

func (a *API) registerPage(status int, form url.Values, problem string) (*httpapi.Reply, error) {
	data := map[string]any{"Page": pageToGo(form), "User": form.Get("user"), "Problem": problem, "Open": a.pageRegisters(), "Token": a.o.RegistrationTokenRequired}
	if a.o.Terms != nil {
		data["Documents"] = a.o.Terms.documents()
	}
	return a.page(status, registerTemplate, data, "'self'")
}

// getRegisterPage shows the form.
func (a *API) getRegisterPage(r *http.Request, _ *httpapi.Requester) (any, error) {
	return a.registerPage(http.StatusOK, r.URL.Query(), "")
}

// postRegisterPage makes an account for who has filled the form in, and leads on signed in.
func (a *API) postRegisterPage(r *http.Request, _ *httpapi.Requester) (any, error) {
	form, err := a.readForm(r)
	if err != nil {
		return nil, err
	}
	user, err := a.registerByForm(r, form)
	var refused *httpapi.Error
	if errors.As(err, &refused) && refused.Status < 500 {
		return a.registerPage(http.StatusForbidden, form, refused.Message+".")
	}
	if err != nil {
		return nil, err
	}
	return a.startPageSession(user, pageToGo(form)), nil
}

// registerByForm makes an account by the same rules as POST /register.
func (a *API) registerByForm(r *http.Request, form url.Values) (*storage.User, error) {
	password := form.Get("password")
	body := registration{Username: strings.TrimSpace(form.Get("user")), Password: &password, InhibitLogin: true}
	switch {
	case !a.pageRegisters():
		return nil, registrationClosed()
	case body.Username == "":
		return nil, httpapi.MissingParam("The user name is missing")
	case password != form.Get("again"):
		return nil, httpapi.InvalidParam("The passwords are not the same")
	case a.o.Terms != nil && !form.Has("agreed"):
		return nil, httpapi.MissingParam("You must agree to the terms")
	}
	if err := a.checkRegistration(r.Context(), &body); err != nil {
		return nil, err
	}
	if err := a.checkPolicy(password); err != nil {
		return nil, err
	}
	if a.o.RegistrationTokenRequired {
		proved, err := a.tryRegistrationToken(r.Context(), strings.TrimSpace(form.Get("token")))
		if err != nil {
			return nil, err
		}
		body.account.Token = proved.registrationToken
	}
	if a.o.Terms != nil {
		body.account.AcceptedTerms = a.o.Terms.Version
	}
	made, err := a.register(r.Context(), &body)
	if err != nil {
		return nil, err
	}
	return a.db.GetUser(r.Context(), made.UserID)
}
