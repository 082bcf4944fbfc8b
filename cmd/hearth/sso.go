package main

import (
	"strings"

	"hearth/clientapi"
	"hearth/internal/certificate"
	"hearth/internal/config"
	"hearth/internal/idp"
)

// ssoProviders are where people sign in.
func ssoProviders(cfg *config.Config) ([]*idp.Provider, error) {
	pool, err := certificate.Pool(cfg.Federation.TrustedCAFiles)
	if err != nil {
		return nil, err
	}
	var providers []*idp.Provider
	for _, p := range cfg.SSO.Providers {
		secret, err := p.Secret()
		if err != nil {
			return nil, err
		}
		provider, err := idp.New(idp.Options{
			ID: p.ID, Name: p.Title(), Brand: p.Brand, Icon: p.Icon,
			Issuer: p.Issuer, ClientID: p.ClientID, ClientSecret: secret, Scopes: p.Scopes,
			RedirectURL: strings.TrimSuffix(cfg.PublicBaseURL, "/") + clientapi.SSOCallbackPath,
			Localpart:   p.Localpart, DisplayName: p.DisplayName,
			Register: p.Register, AllowExisting: p.AllowExistingUsers, RootCAs: pool,
		})
		if err != nil {
			return nil, err
		}
		providers = append(providers, provider)
	}
	return providers, nil
}
