package clientapi

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// authorization is what a client asks a user for.
type authorization struct {
	client                       *oauthClient
	clientID, redirectURI, state string
	fragment                     bool
	challenge, scope, deviceID   string
}

// oauthParams are the parameters of an authorisation request, in the order of the form.
var oauthParams = []string{"response_type", "client_id", "redirect_uri", "scope", "state", "response_mode", "code_challenge", "code_challenge_method"}

const (
	apiScope = "urn:matrix:client:api:*"
	// deviceScope comes before the id of the device.
	deviceScope = "urn:matrix:client:device:"
	// maxState bounds what clients have carried through, in bytes.
	maxState = 1000
	// unstableScope is how the scopes began before they were specified.
	unstableScope = "urn:matrix:org.matrix.msc2967.client:"
)

var (
	// oauthDevice is the alphabet that device ids should be of.
	oauthDevice = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,255}$`)
	// codeChallenge is a SHA-256 in base64.
	codeChallenge = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
)

// errNoClient means that there is nowhere to send the user back to.
var errNoClient = errors.New("the app isn't known, or asks to be led to where it isn't")

// authorizationOf reads an authorisation request. A *oauthError is told to the client.
//
// https://spec.matrix.org/v1.19/client-server-api/#authorisation-code-flow
func (a *API) authorizationOf(form url.Values) (*authorization, error) {
	q := &authorization{clientID: form.Get("client_id"), redirectURI: form.Get("redirect_uri")}
	q.client = a.oauth.client(q.clientID)
	if q.client == nil || !q.client.registered(q.redirectURI) || len(form["redirect_uri"]) > 1 || len(form["client_id"]) > 1 {
		return nil, errNoClient
	}
	q.fragment = form.Get("response_mode") == "fragment"
	if state := form.Get("state"); len(state) <= maxState {
		q.state = state
	}
	for _, name := range oauthParams {
		if len(form[name]) > 1 {
			return q, oauthRefusal("invalid_request", "%s is there twice", name)
		}
	}
	q.challenge = form.Get("code_challenge")
	mode := form.Get("response_mode")
	switch {
	case form.Get("response_type") != "code":
		return q, oauthRefusal("unsupported_response_type", "response_type must be code")
	case mode != "" && mode != "query" && mode != "fragment":
		return q, oauthRefusal("invalid_request", "response_mode must be query or fragment")
	case form.Get("code_challenge_method") != "S256" || !codeChallenge.MatchString(q.challenge):
		return q, oauthRefusal("invalid_request", "There must be a code_challenge with the method S256")
	case len(form.Get("state")) > maxState:
		return q, oauthRefusal("invalid_request", "state is longer than %d bytes", maxState)
	}
	if refused := q.setScope(form.Get("scope")); refused != nil {
		return q, refused
	}
	return q, nil
}

// setScope reads the scope: access to all, by one device. What else is asked for isn't
// granted.
//
// https://spec.matrix.org/v1.19/client-server-api/#scope
func (q *authorization) setScope(scope string) *oauthError {
	all, devices := "", 0
	for token := range strings.FieldsSeq(scope) {
		stable := token
		if rest, old := strings.CutPrefix(token, unstableScope); old {
			stable = "urn:matrix:client:" + rest
		}
		id, isDevice := strings.CutPrefix(stable, deviceScope)
		switch {
		case stable == apiScope && all == "":
			all = token
		case isDevice:
			devices++
			q.deviceID = id
			q.scope = token
		}
	}
	if all == "" || devices != 1 || !oauthDevice.MatchString(q.deviceID) {
		return oauthRefusal("invalid_scope", "The scope must be %s and one %s", apiScope, deviceScope+"ID")
	}
	q.scope = all + " " + q.scope
	return nil
}

// location is where the user is led back to.
func (q *authorization) location(params url.Values) string {
	if q.state != "" {
		params.Set("state", q.state)
	}
	if q.fragment {
		return q.redirectURI + "#" + params.Encode()
	}
	if strings.Contains(q.redirectURI, "?") {
		return q.redirectURI + "&" + params.Encode()
	}
	return q.redirectURI + "?" + params.Encode()
}

func (q *authorization) back(params url.Values) *httpapi.Reply {
	return &httpapi.Reply{Status: http.StatusSeeOther, Header: http.Header{
		"Location": {q.location(params)}, "Cache-Control": {"no-store"}, "Referrer-Policy": {"no-referrer"}}}
}

func (q *authorization) refuse(e *oauthError) *httpapi.Reply {
	return q.back(url.Values{"error": {e.Code}, "error_description": {e.Description}})
}

var authorizeTemplate = pageTemplate("authorize")

// oauthPage shows what is asked for, with a form to agree: by logging in, or for signedIn, if that
// isn't nil. The form carries the request, so nothing is kept of people who go away.
func (a *API) oauthPage(status int, q *authorization, signedIn *storage.User, form url.Values, problem string) (*httpapi.Reply, error) {
	data := map[string]any{"Problem": problem}
	var hidden [][2]string
	for _, name := range oauthParams {
		if form.Has(name) {
			hidden = append(hidden, [2]string{name, form.Get(name)})
		}
	}
	data["Client"], data["Host"], data["Hidden"], data["User"] = q.client.title(), q.client.host(), hidden, form.Get("user")
	if signedIn != nil {
		data["SignedIn"] = signedIn.ID
	} else {
		request := url.Values{}
		for _, field := range hidden {
			request.Set(field[0], field[1])
		}
		page := oauthPath + "/authorize?" + request.Encode()
		data["Buttons"] = a.ssoButtons(a.o.SSO, ssoPurpose{page: page})
		if a.pageRegisters() {
			data["Register"] = a.registerURL(page)
		}
	}
	data["Terms"], data["Policy"] = q.client.TermsURI, q.client.PolicyURI
	target, err := url.Parse(q.redirectURI)
	if err != nil {
		return nil, err
	}
	return a.page(status, authorizeTemplate, data, formTarget(target))
}

// authorizing reads the request. If it is no good, it returns the answer.
func (a *API) authorizing(form url.Values) (*authorization, any, error) {
	q, err := a.authorizationOf(form)
	var refused *oauthError
	switch {
	case errors.As(err, &refused):
		return nil, q.refuse(refused), nil
	case err != nil:
		answer, err := a.page(http.StatusBadRequest, authorizeTemplate, map[string]any{}, "'none'")
		return nil, answer, err
	}
	return q, nil, nil
}

// getAuthorize shows the page to which clients lead people.
func (a *API) getAuthorize(r *http.Request, _ *httpapi.Requester) (any, error) {
	form := r.URL.Query()
	q, answer, err := a.authorizing(form)
	if answer != nil || err != nil {
		return answer, err
	}
	if form.Get("prompt") == "create" && a.pageRegisters() {
		form.Del("prompt")
		return redirect(http.StatusSeeOther, a.registerURL(oauthPath+"/authorize?"+form.Encode())), nil
	}
	user, err := a.pageUser(r)
	if err != nil {
		return nil, err
	}
	form.Set("user", strings.TrimPrefix(form.Get("login_hint"), "mxid:"))
	return a.oauthPage(http.StatusOK, q, user, form, "")
}

// postAuthorize checks who has filled the form in, and leads back with a code.
func (a *API) postAuthorize(r *http.Request, _ *httpapi.Requester) (any, error) {
	form, err := a.readForm(r)
	if err != nil {
		return nil, err
	}
	q, answer, err := a.authorizing(form)
	if answer != nil || err != nil {
		return answer, err
	}
	if form.Has("cancel") {
		return q.refuse(oauthRefusal("access_denied", "The user has said no")), nil
	}
	if form.Has("other") {
		a.endPageSession(r)
		return a.oauthPage(http.StatusOK, q, nil, form, "")
	}
	user, err := a.agreed(r, form)
	var refused *httpapi.Error
	if errors.As(err, &refused) && refused.Status < 500 {
		return a.oauthPage(http.StatusForbidden, q, nil, form, refused.Message)
	}
	if err != nil {
		return nil, err
	}
	code, hash := newToken("hearth_ac_")
	a.oauth.codes.Add(hash, &oauthCode{authorization: *q, by: nowSignedIn(user)})
	return q.back(url.Values{"code": {code}}), nil
}

// agreed is who has agreed: whose password is in the form, or who has signed in before.
func (a *API) agreed(r *http.Request, form url.Values) (*storage.User, error) {
	if !form.Has("as") {
		return a.formUser(r, form)
	}
	user, err := a.pageUser(r)
	if err == nil && (user == nil || user.ID != form.Get("as")) {
		err = httpapi.Forbidden("You are no longer signed in")
	}
	return user, err
}
