// Package idp has people sign in by identity providers that speak OpenID Connect.
package idp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"text/template"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

const (
	// patience bounds a request to a provider, maxAnswer its answer in bytes.
	patience  = 10 * time.Second
	maxAnswer = 1 << 20
	// metadataAge is after how long a provider is asked again what it is like.
	metadataAge = time.Hour
)

// Options of New. ID, Name, Issuer, ClientID, RedirectURL and Localpart are required.
type Options struct {
	// ID is what programs know the provider by, Name what people do. Brand and Icon, unless "",
	// say what clients show.
	ID, Name, Brand, Icon string
	// Issuer is the provider's URL, as it calls itself.
	Issuer string
	// ClientID and ClientSecret are this server's at the provider; without a secret it is a
	// public client.
	ClientID, ClientSecret string
	// Scopes are asked for beside openid.
	Scopes []string
	// RedirectURL is where the provider leads people back to.
	RedirectURL string
	// Localpart and DisplayName are templates, as of text/template, that make of the provider's
	// claims what a new account is called; DisplayName may be "".
	Localpart, DisplayName string
	// Register gives an account to who has none. AllowExisting gives them the one that has
	// their name already.
	Register, AllowExisting bool
	// RootCAs are the certificate authorities; nil for the system's.
	RootCAs *x509.CertPool
}

// Provider is an identity provider. It is asked what it is like when somebody first signs in.
type Provider struct {
	Options
	localpart, displayName *template.Template
	http                   *http.Client

	asking singleflight.Group
	mu     sync.Mutex // guards known
	known  *metadata
}

// metadata is what a provider says of itself.
type metadata struct {
	provider *oidc.Provider
	config   oauth2.Config
	// namesItself is whether it says in the callback who it is.
	namesItself bool
	at          time.Time
}

// New refuses templates that are none.
func New(o Options) (*Provider, error) {
	p := &Provider{Options: o}
	var err error
	if p.localpart, err = parseTemplate(o.Localpart); err != nil {
		return nil, fmt.Errorf("the localpart of %s: %w", o.ID, err)
	}
	if p.displayName, err = parseTemplate(o.DisplayName); err != nil {
		return nil, fmt.Errorf("the display name of %s: %w", o.ID, err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12}
	p.http = &http.Client{Timeout: patience, Transport: bounded{transport}}
	return p, nil
}

// bounded cuts answers that are too long.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := b.RoundTripper.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(res.Body, maxAnswer), res.Body}
	return res, nil
}

// AuthURL is where to lead somebody who is to sign in. What it takes must be unpredictable and
// used once.
func (p *Provider) AuthURL(ctx context.Context, state, nonce, verifier string) (string, error) {
	m, err := p.metadata(ctx)
	if err != nil {
		return "", err
	}
	return m.config.AuthCodeURL(state, oidc.Nonce(nonce), oauth2.S256ChallengeOption(verifier)), nil
}

// metadata asks the provider what it is like, unless that is known. While it doesn't answer,
// what it said last is believed.
func (p *Provider) metadata(ctx context.Context) (*metadata, error) {
	p.mu.Lock()
	known := p.known
	p.mu.Unlock()
	if known != nil && time.Since(known.at) < metadataAge {
		return known, nil
	}
	asked := p.asking.DoChan("", func() (any, error) {
		// For all who wait: it doesn't end with the one request that asked first.
		m, err := p.discover(context.WithoutCancel(ctx))
		if err == nil {
			p.mu.Lock()
			p.known = m
			p.mu.Unlock()
		}
		return m, err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case result := <-asked:
		if result.Err == nil {
			return result.Val.(*metadata), nil
		}
		if known != nil {
			return known, nil
		}
		return nil, fmt.Errorf("asking %s what it is like: %w", p.Issuer, result.Err)
	}
}

func (p *Provider) discover(ctx context.Context) (*metadata, error) {
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, p.http), p.Issuer)
	if err != nil {
		return nil, err
	}
	var says struct {
		AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
		NamesItself bool     `json:"authorization_response_iss_parameter_supported"`
	}
	if err := provider.Claims(&says); err != nil {
		return nil, err
	}
	endpoint := provider.Endpoint()
	// Trying which way is the right one could use a code up.
	endpoint.AuthStyle = oauth2.AuthStyleInHeader
	if p.ClientSecret == "" || len(says.AuthMethods) > 0 && !slices.Contains(says.AuthMethods, "client_secret_basic") {
		endpoint.AuthStyle = oauth2.AuthStyleInParams
	}
	return &metadata{provider: provider, namesItself: says.NamesItself, at: time.Now(), config: oauth2.Config{
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, Endpoint: endpoint, RedirectURL: p.RedirectURL,
		Scopes: append([]string{oidc.ScopeOpenID}, p.Scopes...),
	}}, nil
}
