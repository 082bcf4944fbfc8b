// Package config is homeserver.yaml: its keys, their documentation and defaults,
// and the checks that refuse a wrong file with a sentence.
package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Config is the whole configuration. The doc tags are the documentation: the
// sample file and docs/configuration.md are generated from them.
type Config struct {
	ServerName    string          `yaml:"server_name" doc:"The name of this homeserver: what stands after the colon in user ids such as\n@alice:example.org. It can't be changed once there are accounts."`
	DataDir       string          `yaml:"data_dir" doc:"Where the signing key, media and the private PostgreSQL are kept. A relative path\nstarts from this file's folder."`
	Database      string          `yaml:"database" doc:"A PostgreSQL connection string, such as\n\"host=/run/postgresql user=hearth dbname=hearth\". Empty: a private PostgreSQL\nin data_dir, started and stopped with Hearth."`
	Listen        Listen          `yaml:"listen" doc:"Addresses to listen on, each host:port. Empty: don't."`
	PublicBaseURL string          `yaml:"public_base_url" doc:"What /.well-known/matrix/client announces: the URL under which clients reach this\nserver, such as https://matrix.example.org. Empty: nothing is announced."`
	DefaultRoom   string          `yaml:"default_room_version" doc:"The version of new rooms that ask for none: \"1\" to \"12\"."`
	Registration  Registration    `doc:"Who may make an account. Off unless enabled."`
	Rooms         Rooms           `doc:"Rooms."`
	Passwords     Passwords       `doc:"What passwords are like and how they are kept."`
	AccessTokens  AccessTokens    `yaml:"access_tokens" doc:"How long sessions live."`
	RateLimits    RateLimits      `yaml:"rate_limits" doc:"How often each user (before login: each address) may do things. What is over the\nlimit is answered with M_LIMIT_EXCEEDED."`
	Presence      Presence        `doc:"Who is there."`
	Email         Email           `doc:"Mail to people: to confirm addresses and to set forgotten passwords. It needs\npublic_base_url."`
	ClientURLs    List            `yaml:"client_urls" doc:"The web clients of this server's people, such as https://app.element.io: links in mails\nand signing in at somebody else's may lead on to them without a question."`
	OAuth         OAuth           `yaml:"oauth" doc:"Logging in on a page of this server, as Element does where it finds the OAuth 2.0 API."`
	SSO           SSO             `yaml:"sso" doc:"Signing in at somebody else's: providers of OpenID Connect, such as Keycloak, Authentik or\nGoogle. They need public_base_url, from where /_hearth/ must be passed on too."`
	Identity      IdentityServers `yaml:"identity_servers" doc:"Servers by which people publish e-mail addresses and telephone numbers, so that others\nfind and invite them by these."`
	TURN          TURN            `yaml:"turn" doc:"Servers that relay calls between people who can't reach each other."`
	Media         Media           `doc:"Files that people share."`
	Federation    Federation      `doc:"Other homeservers. Off unless enabled."`
	Search        Search          `doc:"Finding what was said."`
	UserDirectory UserDirectory   `yaml:"user_directory" doc:"Finding people."`
	Push          Push            `doc:"Notifications on people's phones."`
	DelayedEvents DelayedEvents   `yaml:"delayed_events" doc:"Events that people have sent later: reminders, and the hang-up of calls whose client has\ngone away."`
	ServerNotices ServerNotices   `yaml:"server_notices" doc:"Messages of administrators to people, by Synapse's admin API (send_server_notice)."`
	RTC           RTC             `doc:"Calls, as Element Call makes them (MatrixRTC)."`
	Support       Support         `doc:"Whom /.well-known/matrix/support names as this server's contact."`
	Cache         Cache           `doc:"Memory."`
	Logging       Logging         `doc:"Logs."`
}

// Listen are the addresses of the listeners.
type Listen struct {
	Client     string `doc:"The client-server API, plain HTTP: for a reverse proxy or a trusted network."`
	Federation string `doc:"The server-server API over TLS, when federation.enabled is true."`
	Metrics    string `doc:"Prometheus metrics (/metrics), health (/healthz) and profiles (/debug/pprof).\nWho can reach it can read them: keep it on loopback. Off unless set."`
}

// Registration says who may make an account.
type Registration struct {
	Enabled      bool   `doc:"Whether anybody who reaches this server may make an account."`
	SharedSecret string `yaml:"shared_secret" doc:"Enables /_synapse/admin/v1/register: who knows the secret can make accounts,\nadministrators among them. Empty: off."`
	RequireToken bool   `yaml:"require_token" doc:"Whether one needs a token for it; hearth registration-token makes them."`
	RequireEmail bool   `yaml:"require_email" doc:"Whether one needs an e-mail address for it."`
	AllowGuests  bool   `yaml:"allow_guests" doc:"Whether anybody may come in as a guest, to rooms that admit guests."`
	Terms        Terms  `doc:"What one must agree to. Off unless a URL is set."`
}

// Terms are documents that people agree to.
type Terms struct {
	Version    string `doc:"The version of the documents; it is kept with each account that is made."`
	Language   string `doc:"The language they are in."`
	ServiceURL string `yaml:"service_url" doc:"Where the terms of service are."`
	PrivacyURL string `yaml:"privacy_url" doc:"Where the privacy policy is."`
}

// Email says how mail is sent.
type Email struct {
	SMTPServer string `yaml:"smtp_server" doc:"The server that takes mail, host:port. Empty: no mail."`
	TLS        string `yaml:"tls" doc:"starttls, tls (from the first byte) or none (only on this machine)."`
	Username   string `doc:"The name to log in with. Empty: without."`
	Password   string `doc:"Its password."`
	From       string `doc:"The sender, such as Example <matrix@example.org>."`
}

// OAuth says whether clients can log in by OAuth 2.0.
type OAuth struct {
	Enabled bool `doc:"Whether there is the OAuth 2.0 API. It needs public_base_url, from where\n/_hearth/ must be passed on too: people log in and manage their accounts there."`
}

// IdentityServers says which servers publish addresses.
type IdentityServers struct {
	Allowed            List `doc:"The only ones that are asked, when a client wants it; *.example.org for all below a\nname. Empty: none."`
	AllowPrivateRanges bool `yaml:"allow_private_ranges" doc:"Whether they may be at loopback and private addresses. Off, nobody can make this server\nask others inside its own network."`
}

// TURN says which servers relay calls.
type TURN struct {
	URIs         List     `yaml:"uris" doc:"Their addresses, such as turn:turn.example.org?transport=udp. Empty: none."`
	SharedSecret string   `yaml:"shared_secret" doc:"The secret that they share with this server (coturn: static-auth-secret): everybody\ngets credentials of their own."`
	Username     string   `doc:"Without a shared secret: the name that all use."`
	Password     string   `doc:"Its password."`
	Lifetime     Duration `doc:"How long credentials are good."`
}

// Passwords says how passwords are kept.
type Passwords struct {
	MinimumLength int  `yaml:"minimum_length" doc:"How many characters a new password must have."`
	Require       List `doc:"What characters it must have among others: lowercase, uppercase, digit, symbol."`
	BcryptCost    int  `yaml:"bcrypt_cost" doc:"How expensive it is to check a password: each step doubles it. 10 is about 50 ms\nof a core; 4 is for tests only."`
}

// AccessTokens says how long tokens live.
type AccessTokens struct {
	Lifetime Duration `doc:"How long an access token lives when the client can refresh it."`
}

// RateLimits are the budgets of users.
type RateLimits struct {
	Enabled      bool
	Messages     Rate `doc:"Sending events."`
	Joins        Rate `doc:"Joining and creating rooms."`
	Invites      Rate `doc:"Inviting others."`
	Logins       Rate `doc:"Checking passwords, by address and by account."`
	Registration Rate `doc:"Making accounts, by address."`
	Expensive    Rate `doc:"Uploads, searches and other heavy work."`
	Federation   Rate `doc:"Requests of other homeservers, by server."`
}

// Rate is a budget.
type Rate struct {
	PerSecond float64 `yaml:"per_second"`
	Burst     int
}

// Presence says whether people see who is there.
type Presence struct {
	Enabled bool `doc:"Whether people see who is online."`
}

// Push says which push gateways may be used.
type Push struct {
	AllowPrivateGateways bool `yaml:"allow_private_gateways" doc:"Whether push gateways may be at loopback and private addresses, and without TLS. Off,\nnobody can make this server ask others inside its own network."`
}

// Support is who is to be asked about this server.
type Support struct {
	Email string `doc:"An e-mail address."`
	MXID  string `yaml:"matrix_id" doc:"A user id."`
	Page  string `doc:"The URL of a page."`
}

// Cache says how much is kept in memory.
type Cache struct {
	Budget Size `doc:"What rooms, events and sync may take in memory together. The process takes about\n128 MiB more, and what many requests at once need."`
}

// Logging says what is logged.
type Logging struct {
	Level  string `doc:"debug, info, warn or error."`
	Format string `doc:"text or json, on standard error."`
}

// Default returns the configuration of a server with the given name, "" for a
// name that is still to be set.
func Default(serverName string) *Config {
	return &Config{
		ServerName:   serverName,
		DataDir:      "./data",
		Listen:       Listen{Client: "127.0.0.1:8008", Federation: "0.0.0.0:8448"},
		DefaultRoom:  "12",
		Registration: Registration{Terms: Terms{Version: "1", Language: "en"}},
		Passwords:    Passwords{MinimumLength: 8, BcryptCost: 10},
		AccessTokens: AccessTokens{Lifetime: Duration(3600e9)},
		RateLimits: RateLimits{
			Enabled:      true,
			Messages:     Rate{PerSecond: 10, Burst: 50},
			Joins:        Rate{PerSecond: 1, Burst: 20},
			Invites:      Rate{PerSecond: 1, Burst: 50},
			Logins:       Rate{PerSecond: 0.2, Burst: 10},
			Registration: Rate{PerSecond: 0.1, Burst: 5},
			Expensive:    Rate{PerSecond: 5, Burst: 50},
			Federation:   Rate{PerSecond: 50, Burst: 500},
		},
		Presence:      Presence{Enabled: true},
		Email:         Email{TLS: "starttls"},
		Identity:      IdentityServers{Allowed: List{"vector.im", "matrix.org"}},
		TURN:          TURN{Lifetime: Duration(86400e9)},
		Media:         defaultMedia(),
		Search:        Search{Enabled: true},
		ServerNotices: ServerNotices{DisplayName: "Server Notices", RoomName: "Server Notices"},
		DelayedEvents: DelayedEvents{MaxDelay: Duration(24 * 3600e9), MaxPerUser: 100},
		Federation:    Federation{VerifyCertificates: true, LongestPause: Duration(3600e9)},
		Cache:         Cache{Budget: 128 << 20},
		Logging:       Logging{Level: "info", Format: "text"},
	}
}

// Size is a number of bytes, written such as 50MiB.
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1}, {"", 1}}

// UnmarshalText reads a size.
func (s *Size) UnmarshalText(text []byte) error {
	for _, u := range sizeUnits {
		number, ok := strings.CutSuffix(string(text), u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.bytes {
			break
		}
		*s = Size(n * u.bytes)
		return nil
	}
	return fmt.Errorf("%q is no size: write it such as 50MiB", text)
}

// MarshalText writes a size in its largest whole unit.
func (s Size) MarshalText() ([]byte, error) {
	for _, u := range sizeUnits {
		if u.bytes > 1 && s > 0 && int64(s)%u.bytes == 0 {
			return fmt.Appendf(nil, "%d%s", int64(s)/u.bytes, u.suffix), nil
		}
	}
	return fmt.Appendf(nil, "%dB", int64(s)), nil
}
