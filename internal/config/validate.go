package config

import (
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
)

// serverName is the grammar of server names.
//
// https://spec.matrix.org/v1.19/appendices/#server-name
var serverName = regexp.MustCompile(`^(\d{1,3}(\.\d{1,3}){3}|\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z.-]{1,255})(:\d{1,5})?$`)

// validate checks what the types can't.
func (l *loader) validate(c *Config) {
	if c.ServerName == "" {
		l.problem("server_name", "must be set: what stands after the colon in user ids, such as example.org")
	} else if !serverName.MatchString(c.ServerName) || len(c.ServerName) > 230 {
		l.problem("server_name", "%q is no server name: write a DNS name or an address, with or without a port", c.ServerName)
	}
	if c.DataDir == "" {
		l.problem("data_dir", "must be set")
	}
	l.address("listen.client", c.Listen.Client)
	l.address("listen.federation", c.Listen.Federation)
	l.address("listen.metrics", c.Listen.Metrics)
	if c.Listen.Client == "" {
		l.problem("listen.client", "must be set: a server that nobody can reach serves nobody")
	}
	l.webURL("public_base_url", c.PublicBaseURL)
	l.webURL("support.page", c.Support.Page)
	if n, err := strconv.Atoi(c.DefaultRoom); err != nil || n < 1 || n > 12 {
		l.problem("default_room_version", "%q isn't one of \"1\" to \"12\"", c.DefaultRoom)
	}
	if c.Passwords.BcryptCost < 4 || c.Passwords.BcryptCost > 16 {
		l.problem("passwords.bcrypt_cost", "%d isn't between 4 and 16", c.Passwords.BcryptCost)
	}
	l.accounts(c)
	l.notices(c)
	l.rates(c)
	l.federation(&c.Federation)
	l.media(&c.Media)
	l.calls(c)
	if c.Cache.Budget < 16<<20 {
		l.problem("cache.budget", "must be at least 16MiB")
	}
	l.oneOf("logging.level", c.Logging.Level, "debug", "info", "warn", "error")
	l.oneOf("logging.format", c.Logging.Format, "text", "json")
}

func (l *loader) rates(c *Config) {
	for name, r := range map[string]Rate{
		"messages": c.RateLimits.Messages, "joins": c.RateLimits.Joins, "invites": c.RateLimits.Invites,
		"logins": c.RateLimits.Logins, "registration": c.RateLimits.Registration, "expensive": c.RateLimits.Expensive,
		"federation": c.RateLimits.Federation,
	} {
		if r.PerSecond <= 0 || r.Burst < 1 {
			l.problem("rate_limits."+name, "per_second must be more than 0 and burst at least 1")
		}
	}
}

func (l *loader) address(path, address string) {
	if address == "" {
		return
	}
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		l.problem(path, "%q is no address: write host:port, such as 127.0.0.1:8008", address)
	}
}

func (l *loader) webURL(path, text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		l.problem(path, "%q is no URL: write it with https:// in front", text)
	}
}

func (l *loader) oneOf(path, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		l.problem(path, "%q isn't one of %q", value, allowed)
	}
}
