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
	RedirectURIs    []string `json:"redirect_uris"`
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

// postOAuthClient registers a client. Nothing is kept: its id holds what it says of itself,
// so that nobody can fill this server with clients, and the same client has the same id everywhere.
//
// https://spec.matrix.org/v1.19/client-server-api/#dynamic-client-registration-flow
func (a *API) postOAuthClient(r *http.Request, _ *httpapi.Requester) (any, error) {
	var body struct {
		oauthClient
		AuthMethod string   `json:"token_endpoint_auth_method"`
		Grants     []string `json:"grant_types"`
		Responses  []string `json:"response_types"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return oauthRefusal("invalid_client_metadata", "The body isn't valid JSON").reply(), nil
	}
	if body.ApplicationType == "" {
		body.ApplicationType = "web"
	}
	refused := body.check()
	switch {
	case refused != nil:
	case body.AuthMethod != "none":
		refused = oauthRefusal("invalid_client_metadata", "token_endpoint_auth_method must be none")
	case body.Grants != nil && !slices.Contains(body.Grants, "authorization_code"),
		body.Responses != nil && !slices.Contains(body.Responses, "code"):
		refused = oauthRefusal("invalid_client_metadata", "grant_types must have authorization_code, and response_types code")
	}
	if refused != nil {
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
		oauthClient
		ID         string   `json:"client_id"`
		AuthMethod string   `json:"token_endpoint_auth_method"`
		Grants     []string `json:"grant_types"`
		Responses  []string `json:"response_types"`
	}{body.oauthClient, id, "none", oauthGrants, []string{"code"}}}, nil
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
	case len(c.RedirectURIs) == 0 || len(c.RedirectURIs) > maxRedirectURIs:
		return oauthRefusal("invalid_redirect_uri", "There must be 1 to %d redirect_uris", maxRedirectURIs)
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
