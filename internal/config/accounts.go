package config

import (
	"net/mail"
	"strings"

	"hearth/internal/password"
)

// accounts checks what is said of accounts and calls.
func (l *loader) accounts(c *Config) {
	if n := c.Passwords.MinimumLength; n < 1 || n > 128 {
		l.problem("passwords.minimum_length", "%d isn't between 1 and 128", n)
	}
	for _, class := range c.Passwords.Require {
		if password.Classes[class] == nil {
			l.problem("passwords.require", "%q isn't one of lowercase, uppercase, digit, symbol", class)
		}
	}
	terms := c.Registration.Terms
	l.webURL("registration.terms.service_url", terms.ServiceURL)
	l.webURL("registration.terms.privacy_url", terms.PrivacyURL)
	if terms.Version == "" || terms.Language == "" || terms.Language == "version" {
		l.problem("registration.terms.version", "the version and the language must be set")
	}
	l.email(c)
	if c.OAuth.Enabled && c.PublicBaseURL == "" {
		l.problem("public_base_url", "must be set for oauth.enabled: clients lead people there")
	}
	l.sso(c)
	for _, name := range c.Identity.Allowed {
		if !serverName.MatchString(strings.TrimPrefix(name, "*.")) {
			l.problem("identity_servers.allowed", "%q is no server name", name)
		}
	}
	for _, uri := range c.TURN.URIs {
		if !strings.HasPrefix(uri, "turn:") && !strings.HasPrefix(uri, "turns:") && !strings.HasPrefix(uri, "stun:") && !strings.HasPrefix(uri, "stuns:") {
			l.problem("turn.uris", "%q is no TURN server: write it such as turn:turn.example.org?transport=udp", uri)
		}
	}
	if t := c.TURN; len(t.URIs) > 0 && t.SharedSecret == "" && (t.Username == "" || t.Password == "") {
		l.problem("turn.shared_secret", "set this, or a username and a password")
	}
}

func (l *loader) email(c *Config) {
	l.oneOf("email.tls", c.Email.TLS, "starttls", "tls", "none")
	for _, u := range c.ClientURLs {
		l.webURL("client_urls", u)
	}
	if c.Email.SMTPServer == "" {
		if c.Registration.RequireEmail {
			l.problem("registration.require_email", "addresses can't be confirmed without email.smtp_server")
		}
		return
	}
	l.address("email.smtp_server", c.Email.SMTPServer)
	if _, err := mail.ParseAddress(c.Email.From); err != nil {
		l.problem("email.from", "%q is no sender: write it such as Example <matrix@example.org>", c.Email.From)
	}
	if c.PublicBaseURL == "" {
		l.problem("public_base_url", "must be set for email.smtp_server: links in mails lead there")
	}
}
