package clientapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"hearth/internal/httpapi"
)

// oauthClient is what a client says of itself.
//
// https://spec.matrix.org/v1.19/client-server-api/#client-metadata
type oauthClient struct {
	Name            string   `json:"client_name,omitempty"`
	URI             string   `json:"client_uri"`
	LogoURI         string   `json:"logo_uri,omitempty"`
	TermsURI        string   `json:"tos_uri,omitempty"`
	PolicyURI       string   `json:"policy_uri,omitempty"`
	RedirectURIs    []string `json:"redirect_uris,omitempty"`
	ApplicationType string   `json:"application_type,omitempty"`
}

const (
	// maxOAuthClient bounds what a client says of itself, in bytes, maxRedirectURIs its redirect
	// URIs.
	maxOAuthClient  = 2 << 10
	maxRedirectURIs = 10
	// clientMAC is the length of what authenticates a client's id.
	clientMAC = 16
)

// clientRegistration is a client with how it wants to get tokens.
type clientRegistration struct {
	oauthClient
	AuthMethod string   `json:"token_endpoint_auth_method"`
	Grants     []string `json:"grant_types"`
	Responses  []string `json:"response_types"`
}

// check refuses what this server doesn't do, and settles what is left open.
func (c *clientRegistration) check() *oauthError {
	if c.ApplicationType == "" {
		c.ApplicationType = "web"
	}
	if c.Grants == nil {
		c.Grants = oauthGrants
	}
	if c.Responses == nil {
		c.Responses = []string{"code"}
	}
	// What isn't known is ignored, and not confirmed.
	c.Grants = slices.DeleteFunc(slices.Clone(c.Grants), func(grant string) bool { return !slices.Contains(oauthGrants, grant) })
	c.Responses = slices.DeleteFunc(slices.Clone(c.Responses), func(response string) bool { return response != "code" })
	byCode := slices.Contains(c.Grants, "authorization_code")
	switch {
	case c.AuthMethod != "none":
		return oauthRefusal("invalid_client_metadata", "token_endpoint_auth_method must be none")
	case !byCode && !slices.Contains(c.Grants, deviceGrant):
		return oauthRefusal("invalid_client_metadata", "grant_types must have authorization_code or %s", deviceGrant)
	case byCode && len(c.Responses) == 0:
		return oauthRefusal("invalid_client_metadata", "response_types must have code for authorization_code")
	case byCode && len(c.RedirectURIs) == 0, len(c.RedirectURIs) > maxRedirectURIs:
		return oauthRefusal("invalid_redirect_uri", "There must be 1 to %d redirect_uris", maxRedirectURIs)
	}
	return c.oauthClient.check()
}

// postOAuthClient registers a client. Nothing is kept: its id holds what it says of itself,
// so that nobody can fill this server with clients, and the same client has the same id everywhere.
//
// https://spec.matrix.org/v1.19/client-server-api/#dynamic-client-registration-flow
func (a *API) postOAuthClient(r *http.Request, _ *httpapi.Requester) (any, error) {
	var body clientRegistration
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return oauthRefusal("invalid_client_metadata", "The body isn't valid JSON").reply(), nil
	}
	if refused := body.check(); refused != nil {
		return refused.reply(), nil
	}
	id, err := a.oauth.clientID(&body.oauthClient)
	if err != nil {
		return nil, err
	}
	if len(id) > maxOAuthClient {
		return oauthRefusal("invalid_client_metadata", "This is too much metadata").reply(), nil
	}
	return &httpapi.Reply{Status: http.StatusCreated, Header: oauthHeader, JSON: struct {
		clientRegistration
		ID string `json:"client_id"`
	}{body, id}}, nil
}

func (o *oauth) mac(text []byte) []byte {
	h := hmac.New(sha256.New, o.key)
	h.Write(text)
	return h.Sum(nil)[:clientMAC]
}

// clientID is the id of a client: what it says of itself, authenticated.
func (o *oauth) clientID(c *oauthClient) (string, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(append(o.mac(text), text...)), nil
}

// client returns the client that has an id; nil if none has.
func (o *oauth) client(id string) *oauthClient {
	if len(id) > maxOAuthClient {
		return nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(raw) < clientMAC || !hmac.Equal(raw[:clientMAC], o.mac(raw[clientMAC:])) {
		return nil
	}
	var c oauthClient
	if json.Unmarshal(raw[clientMAC:], &c) != nil {
		return nil
	}
	return &c
}

// title is what people are told is asking.
func (c *oauthClient) title() string {
	if c.Name != "" {
		return c.Name
	}
	return c.host()
}

// host is where the client's page is, which no other client can claim without being led to.
func (c *oauthClient) host() string {
	u, err := url.Parse(c.URI)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// check refuses what would let a client pass for another.
//
// https://spec.matrix.org/v1.19/client-server-api/#redirect-uri-validation
func (c *oauthClient) check() *oauthError {
	bad := func(what string) *oauthError { return oauthRefusal("invalid_client_metadata", "%s", what) }
	host := c.host()
	switch {
	case !isHTTPS(c.URI) || host == "":
		return bad("client_uri must be an https:// URL")
	case len(c.Name) > maxDeviceName || !isText(c.Name):
		return bad("client_name is too long")
	case c.ApplicationType != "web" && c.ApplicationType != "native":
		return bad("application_type must be web or native")
	}
	for _, uri := range []string{c.LogoURI, c.TermsURI, c.PolicyURI} {
		if uri != "" && (!isHTTPS(uri) || !isBelow(uri, host)) {
			return bad("logo_uri, tos_uri and policy_uri must be https:// URLs on the host of client_uri or below")
		}
	}
	for _, uri := range c.RedirectURIs {
		if !c.mayRedirect(uri, host) {
			return oauthRefusal("invalid_redirect_uri", "%.200q is no redirect URI for a client of this type at this client_uri", uri)
		}
	}
	return nil
}

// plainHost is a host that can stand in a header: Go takes others for hosts, too.
var plainHost = regexp.MustCompile(`^[A-Za-z0-9.:\[\]-]+$`)

// isHTTPS reports whether text is an https:// URL without a user and a fragment.
func isHTTPS(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Scheme == "https" && plainHost.MatchString(u.Host) && u.User == nil && u.Opaque == "" && !strings.Contains(text, "#") && isText(text)
}

// isBelow reports whether a URL is on the host or a subdomain of it.
func isBelow(text, host string) bool {
	u, err := url.Parse(text)
	if err != nil {
		return false
	}
	name := strings.ToLower(u.Hostname())
	host = strings.ToLower(host)
	return name == host || strings.HasSuffix(name, "."+host) && net.ParseIP(name) == nil
}

// mayRedirect reports whether the client may have people redirected to the URI.
func (c *oauthClient) mayRedirect(uri, host string) bool {
	if isHTTPS(uri) {
		return isBelow(uri, host) && host != "localhost"
	}
	u, err := url.Parse(uri)
	if err != nil || c.ApplicationType != "native" || strings.Contains(uri, "#") || !isText(uri) {
		return false
	}
	if u.Scheme == "http" {
		return isLoopback(u.Hostname()) && u.Port() == "" && u.User == nil
	}
	labels := strings.Split(strings.ToLower(host), ".")
	slices.Reverse(labels)
	reversed := strings.Join(labels, ".")
	private := u.Scheme == reversed || strings.HasPrefix(u.Scheme, reversed+".")
	return private && len(labels) > 1 && !strings.HasPrefix(uri[len(u.Scheme):], "://")
}

func isLoopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// registered reports whether the client has registered the URI; on loopback, any port will do.
func (c *oauthClient) registered(uri string) bool {
	if slices.Contains(c.RedirectURIs, uri) {
		return true
	}
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "http" || !isLoopback(u.Hostname()) || u.Port() == "" {
		return false
	}
	u.Host = strings.TrimSuffix(u.Host, ":"+u.Port())
	return slices.Contains(c.RedirectURIs, u.String())
}
