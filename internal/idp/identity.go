package idp

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"text/template"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"hearth/internal/httpapi"
)

// Identity is who a provider says that somebody is.
type Identity struct {
	// Issuer and Subject together are nobody else's, ever.
	Issuer, Subject string
	// Localpart is what a new account is to be called, DisplayName, which may be "", how its
	// owner is.
	Localpart, DisplayName string
}

// maxSubject and maxName bound what a provider says, in bytes.
const maxSubject, maxName = 255, 1000

// ErrDenied is why nobody is signed in whom the provider hasn't.
var ErrDenied = errors.New("the provider has said no")

// Finish makes sure who somebody is whom the provider has led back with these parameters.
//
// https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth
func (p *Provider) Finish(ctx context.Context, callback url.Values, nonce, verifier string) (*Identity, error) {
	m, err := p.metadata(ctx)
	if err != nil {
		return nil, err
	}
	// https://datatracker.ietf.org/doc/html/rfc9207
	if iss := callback.Get("iss"); iss != p.Issuer && (iss != "" || m.namesItself) {
		return nil, fmt.Errorf("the answer is of %.200q, not of %s", iss, p.Issuer)
	}
	if code := callback.Get("error"); code != "" {
		return nil, fmt.Errorf("%w: %.200q %.500q", ErrDenied, code, callback.Get("error_description"))
	}
	ctx = oidc.ClientContext(ctx, p.http)
	tokens, err := m.config.Exchange(ctx, callback.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		return nil, fmt.Errorf("exchanging the code: %w", err)
	}
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return nil, errors.New("the provider gave no id_token")
	}
	token, err := m.provider.Verifier(&oidc.Config{ClientID: p.ClientID}).Verify(ctx, raw)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(nonce)) != 1 {
		return nil, errors.New("the id_token is of another sign-in")
	}
	claims, err := claimsOf(token)
	if err != nil {
		return nil, err
	}
	if azp, ok := claims["azp"]; ok && azp != p.ClientID {
		return nil, errors.New("the id_token is another client's")
	}
	return p.identity(ctx, m, tokens, token.Subject, claims)
}

// identity reads the claims. Those that the templates ask for and the token lacks are asked for
// at the provider's userinfo endpoint, if it has one.
func (p *Provider) identity(ctx context.Context, m *metadata, tokens *oauth2.Token, subject string, claims map[string]any) (*Identity, error) {
	if subject == "" || len(subject) > maxSubject || !httpapi.IsText(subject) {
		return nil, fmt.Errorf("%.300q can't be a subject", subject)
	}
	id := &Identity{Issuer: p.Issuer, Subject: subject}
	err := p.render(id, claims)
	if err == nil || m.provider.UserInfoEndpoint() == "" {
		return id, err
	}
	info, err := m.provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens))
	if err != nil {
		return nil, fmt.Errorf("asking for more of the user: %w", err)
	}
	if info.Subject != subject {
		return nil, errors.New("the userinfo endpoint tells of somebody else")
	}
	more, err := claimsOf(info)
	if err != nil {
		return nil, err
	}
	for name, value := range more {
		if _, known := claims[name]; !known { // what is signed counts
			claims[name] = value
		}
	}
	return id, p.render(id, claims)
}

// render makes names of claims. A display name can be missing.
func (p *Provider) render(id *Identity, claims map[string]any) error {
	var err error
	if id.Localpart, err = execute(p.localpart, claims); err != nil {
		return fmt.Errorf("making a localpart of what the provider says: %w", err)
	}
	if id.Localpart == "" {
		return errors.New("what the provider says makes an empty localpart")
	}
	if id.DisplayName, err = execute(p.displayName, claims); err != nil {
		id.DisplayName = ""
	}
	return nil
}

// claimsOf decodes claims, numbers as they are written.
func claimsOf(from interface{ Claims(any) error }) (map[string]any, error) {
	var raw json.RawMessage
	if err := from.Claims(&raw); err != nil {
		return nil, fmt.Errorf("reading claims: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	claims := map[string]any{}
	if err := decoder.Decode(&claims); err != nil {
		return nil, fmt.Errorf("reading claims: %w", err)
	}
	return claims, nil
}

// parseTemplate reads a template. A claim that isn't there is an error.
func parseTemplate(text string) (*template.Template, error) {
	return template.New("").Option("missingkey=error").Funcs(template.FuncMap{
		// mailbox is what stands before the @ of an e-mail address.
		"mailbox": func(address string) string {
			name, _, _ := strings.Cut(address, "@")
			return name
		},
	}).Parse(text)
}

func execute(t *template.Template, claims map[string]any) (string, error) {
	var b strings.Builder
	if err := t.Execute(&b, claims); err != nil {
		return "", err
	}
	name := strings.TrimSpace(b.String())
	if len(name) > maxName || !httpapi.IsText(name) || strings.Contains(name, "<no value>") {
		return "", fmt.Errorf("%.100q can't be a name", name)
	}
	return name, nil
}
