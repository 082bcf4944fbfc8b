package clientapi

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"hearth/internal/httpapi"
)

// These files are the OAuth 2.0 API: this server is its own authorisation server. Clients
// are public ones, that register themselves; people log in on a page of this server.
//
// https://spec.matrix.org/v1.19/client-server-api/#oauth-20-api

const (
	oauthPath = "/_hearth/oauth"
	// maxOAuthBody bounds the requests in bytes.
	maxOAuthBody = 16 << 10
	// codeLifetime is how long a code is good, maxCodes bounds those that are.
	codeLifetime = time.Minute
	maxCodes     = 10_000
)

// oauth is what the authorisation server keeps. Codes that are lost with the process are
// asked for again.
type oauth struct {
	// key authenticates client ids.
	key     []byte
	codes   *expirable.LRU[[32]byte, *oauthCode]
	devices *deviceCodes
}

func newOAuth(key []byte) *oauth {
	return &oauth{key: key, codes: expirable.NewLRU[[32]byte, *oauthCode](maxCodes, nil, codeLifetime), devices: newDeviceCodes()}
}

// oauthRoutes are those of the authorisation server; none if it is turned off.
func (a *API) oauthRoutes() []httpapi.Route {
	if a.o.OAuthKey == nil {
		return nil
	}
	route := func(method, path string, rate httpapi.RateClass, handle func(*http.Request, *httpapi.Requester) (any, error)) httpapi.Route {
		return httpapi.Route{Method: method, Path: oauthPath + path, Auth: httpapi.AuthNone, Rate: rate, MaxBody: maxOAuthBody, Handle: handle}
	}
	return slices.Concat(a.signInRoutes(), a.registerPageRoutes(), a.accountPageRoutes(), []httpapi.Route{
		route("POST", "/clients", httpapi.RateExpensive, a.postOAuthClient),
		route("GET", "/authorize", httpapi.RateExpensive, a.getAuthorize),
		route("POST", "/authorize", httpapi.RateLogin, a.postAuthorize),
		route("POST", "/token", httpapi.RateNone, a.postOAuthToken),
		route("POST", "/revoke", httpapi.RateExpensive, a.postRevoke),
		route("POST", "/device", httpapi.RateExpensive, a.postDeviceAuthorization),
		route("GET", "/link", httpapi.RateLogin, a.getLink),
		route("POST", "/link", httpapi.RateLogin, a.postLink),
	})
}

// authMetadataRoutes are below v1, and where clients looked before it was specified.
func (a *API) authMetadataRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/_matrix/client/v1/auth_metadata", Auth: httpapi.AuthNone, Handle: a.getAuthMetadata},
		{Method: "GET", Path: "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata", Auth: httpapi.AuthNone, Handle: a.getAuthMetadata},
	}
}

// getAuthMetadata is GET /auth_metadata.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1auth_metadata
func (a *API) getAuthMetadata(*http.Request, *httpapi.Requester) (any, error) {
	if a.o.OAuthKey == nil {
		return nil, httpapi.New(http.StatusNotFound, "M_UNRECOGNIZED", "This server has no OAuth 2.0 API")
	}
	base := a.baseURL()
	prompts := []string{}
	if a.pageRegisters() {
		prompts = append(prompts, "create")
	}
	return map[string]any{
		"issuer":                                     base + "/",
		"authorization_endpoint":                     base + oauthPath + "/authorize",
		"token_endpoint":                             base + oauthPath + "/token",
		"revocation_endpoint":                        base + oauthPath + "/revoke",
		"registration_endpoint":                      base + oauthPath + "/clients",
		"response_types_supported":                   []string{"code"},
		"response_modes_supported":                   []string{"query", "fragment"},
		"grant_types_supported":                      oauthGrants,
		"code_challenge_methods_supported":           []string{"S256"},
		"token_endpoint_auth_methods_supported":      []string{"none"},
		"revocation_endpoint_auth_methods_supported": []string{"none"},
		"prompt_values_supported":                    prompts,
		"device_authorization_endpoint":              base + oauthPath + "/device",
		"account_management_uri":                     base + accountPath,
		"account_management_actions_supported":       accountActions,
	}, nil
}

// oauthGrants are the ways to a token.
var oauthGrants = []string{"authorization_code", "refresh_token", deviceGrant}

// oauthError is a refusal as OAuth 2.0 has it.
//
// https://datatracker.ietf.org/doc/html/rfc6749#section-5.2
type oauthError struct {
	Code        string `json:"error"`
	Description string `json:"error_description"`
}

func oauthRefusal(code, format string, args ...any) *oauthError {
	return &oauthError{code, fmt.Sprintf(format, args...)}
}

func (e *oauthError) Error() string { return e.Code + ": " + e.Description }

// oauthHeader keeps tokens out of caches.
var oauthHeader = http.Header{"Cache-Control": {"no-store"}, "Pragma": {"no-cache"}}

// reply is the answer that refuses.
func (e *oauthError) reply() *httpapi.Reply {
	return &httpapi.Reply{Status: http.StatusBadRequest, Header: oauthHeader, JSON: e}
}
