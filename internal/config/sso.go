package config

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// SSO says who else may say who somebody is.
type SSO struct {
	Providers []SSOProvider `yaml:"providers" doc:"The providers, each a group of the keys below."`
}

// SSOProvider is a provider of OpenID Connect.
type SSOProvider struct {
	ID                 string `yaml:"id" doc:"A short name for programs, such as keycloak: a-z A-Z 0-9 . _ ~ -"`
	Name               string `doc:"What people read on the button. Empty: the id."`
	Brand              string `doc:"A brand whose look clients may give the button: google, github, gitlab, apple …"`
	Icon               string `doc:"A picture for the button, as an mxc:// URI."`
	Issuer             string `doc:"The provider's URL, below which there is .well-known/openid-configuration."`
	ClientID           string `yaml:"client_id" doc:"This server's name at the provider, which must be told to lead people back to\n/_hearth/sso/callback below public_base_url."`
	ClientSecret       string `yaml:"client_secret" doc:"Its secret. Empty: a public client, by PKCE alone."`
	ClientSecretFile   string `yaml:"client_secret_file" doc:"A file that holds the secret instead."`
	Scopes             List   `doc:"What is asked for beside openid."`
	Localpart          string `doc:"What a new account is called, made of the provider's claims by a template of Go:\n{{mailbox .email}} is what stands before the @. What a user id can't hold is written as =hh."`
	DisplayName        string `yaml:"display_name" doc:"The display name of a new account, alike."`
	Register           bool   `doc:"Whether who signs in for the first time gets an account, also if registration isn't enabled."`
	AllowExistingUsers bool   `yaml:"allow_existing_users" doc:"Whether they get the account that has their name already. Only for a provider whose\nnames are this server's: otherwise who takes a name there takes over an account here."`
}

// setDefaults is what a provider is like of which nothing is said.
func (p *SSOProvider) setDefaults() {
	p.Scopes = List{"profile", "email"}
	p.Localpart, p.DisplayName = "{{.preferred_username}}", "{{.name}}"
	p.Register = true
}

// Title is what people call the provider.
func (p *SSOProvider) Title() string {
	if p.Name == "" {
		return p.ID
	}
	return p.Name
}

// Secret is this server's at the provider.
func (p *SSOProvider) Secret() (string, error) {
	if p.ClientSecretFile == "" {
		return p.ClientSecret, nil
	}
	text, err := os.ReadFile(p.ClientSecretFile)
	if err != nil {
		return "", fmt.Errorf("reading the client secret of the provider %s: %w", p.ID, err)
	}
	return strings.TrimSpace(string(text)), nil
}

// absolute makes the paths start from dir.
func (s *SSO) absolute(dir string) {
	for i := range s.Providers {
		if path := &s.Providers[i].ClientSecretFile; *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
}

// providerID is the grammar of opaque identifiers.
//
// https://spec.matrix.org/v1.19/appendices/#opaque-identifiers
var providerID = regexp.MustCompile(`^[0-9a-zA-Z._~-]{1,255}$`)

func (l *loader) sso(c *Config) {
	if len(c.SSO.Providers) > 0 && c.PublicBaseURL == "" {
		l.problem("public_base_url", "must be set for sso.providers: they lead people back there")
	}
	seen := map[string]bool{}
	for i := range c.SSO.Providers {
		p := &c.SSO.Providers[i]
		path := fmt.Sprintf("sso.providers[%d].", i)
		if !providerID.MatchString(p.ID) {
			l.problem(path+"id", "%q isn't a name of the characters a-z A-Z 0-9 . _ ~ -", p.ID)
		} else if seen[p.ID] {
			l.problem(path+"id", "there are two providers %q", p.ID)
		}
		seen[p.ID] = true
		if p.Issuer == "" || p.ClientID == "" || p.Localpart == "" {
			l.problem(path+"issuer", "the issuer, the client_id and the localpart must be set")
		}
		l.webURL(path+"issuer", p.Issuer)
		if p.ClientSecret != "" && p.ClientSecretFile != "" {
			l.problem(path+"client_secret_file", "set the secret or its file, not both")
		}
		if u, err := url.Parse(p.Icon); p.Icon != "" && (err != nil || u.Scheme != "mxc" || u.Host == "") {
			l.problem(path+"icon", "%q is no mxc:// URI", p.Icon)
		}
	}
}
