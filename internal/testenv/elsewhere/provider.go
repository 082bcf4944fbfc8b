// Package elsewhere is what a homeserver has to do with, real but small, for tests: a provider of
// OpenID Connect and a post office.
package elsewhere

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// Provider is a provider of OpenID Connect that signs in whoever Person says, without asking.
type Provider struct {
	*httptest.Server
	t      testing.TB
	signer jose.Signer
	keys   jose.JSONWebKeySet
	mu     sync.Mutex // guards what follows
	// Person is who sits before the browser, More what only the userinfo endpoint tells.
	Person, More map[string]any
	// Twist, if set, changes what a token says.
	Twist func(claims map[string]any)
	// Refuse is the error with which people are sent back, "" for none.
	Refuse string
	grants map[string]*grant
}

// grant is what a code stands for.
type grant struct {
	claims                           map[string]any
	redirectURI, challenge, clientID string
}

const (
	// ProviderClient is what a homeserver is called at the provider, ProviderSecret what it shows to be that.
	ProviderClient = "hearth"
	ProviderSecret = "between hearth & the provider"
)

// NewProvider is a provider that nobody has come to yet; it closes when the test ends.
func NewProvider(t testing.TB) *Provider {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &Provider{t: t, grants: map[string]*grant{}}
	p.keys.Keys = []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: string(jose.ES256), Use: "sig"}}
	p.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.configuration)
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) { p.write(w, p.keys) })
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /userinfo", p.userinfo)
	p.Server = httptest.NewServer(mux)
	t.Cleanup(p.Close)
	return p
}

func (p *Provider) write(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		p.t.Error(err)
	}
}

func (p *Provider) configuration(w http.ResponseWriter, _ *http.Request) {
	p.write(w, map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
		"userinfo_endpoint": p.URL + "/userinfo", "response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"}, "token_endpoint_auth_methods_supported": []string{"client_secret_basic"},
		"authorization_response_iss_parameter_supported": true,
	})
}

func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := r.URL.Query()
	back := url.Values{"state": {q.Get("state")}, "iss": {p.URL}}
	if p.Refuse != "" {
		back.Set("error", p.Refuse)
	} else {
		code := rand.Text()
		claims := map[string]any{"iss": p.URL, "aud": q.Get("client_id"), "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "nonce": q.Get("nonce")}
		maps.Copy(claims, p.Person)
		if p.Twist != nil {
			p.Twist(claims)
		}
		p.grants[code] = &grant{claims, q.Get("redirect_uri"), q.Get("code_challenge"), q.Get("client_id")}
		back.Set("code", code)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id, secret, _ := r.BasicAuth()
	g := p.grants[r.PostFormValue("code")]
	delete(p.grants, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if plain, err := url.QueryUnescape(secret); g == nil || err != nil || id != g.clientID || plain != ProviderSecret ||
		r.PostFormValue("redirect_uri") != g.redirectURI || base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge {
		w.WriteHeader(http.StatusBadRequest)
		p.write(w, map[string]string{"error": "invalid_grant"})
		return
	}
	payload, err := json.Marshal(g.claims)
	if err != nil {
		p.t.Error(err)
	}
	signed, err := p.signer.Sign(payload)
	if err != nil {
		p.t.Error(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		p.t.Error(err)
	}
	p.write(w, map[string]any{"access_token": "for the userinfo", "token_type": "Bearer", "expires_in": 60, "id_token": token})
}

func (p *Provider) userinfo(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer for the userinfo" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	claims := maps.Clone(p.More)
	if claims == nil {
		claims = map[string]any{}
	}
	if claims["sub"] == nil {
		claims["sub"] = p.Person["sub"]
	}
	p.write(w, claims)
}

// Set changes what the provider says.
func (p *Provider) Set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// Is puts somebody before the browser.
func (p *Provider) Is(subject, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Person, p.More, p.Twist, p.Refuse = map[string]any{"sub": subject, "preferred_username": name, "name": "The " + name}, nil, nil, ""
}
