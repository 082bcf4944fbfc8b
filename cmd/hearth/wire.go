package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"net/url"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"hearth/clientapi"
	"hearth/delayed"
	"hearth/federationapi"
	federation "hearth/federationapi/client"
	"hearth/internal/certificate"
	"hearth/internal/config"
	"hearth/internal/httpapi"
	"hearth/internal/mail"
	"hearth/internal/password"
	"hearth/internal/postgres"
	"hearth/internal/signingkey"
	"hearth/push"
	"hearth/roomserver"
	"hearth/search"
	"hearth/storage"
	"hearth/syncapi"
)

// server is everything that runs behind the listeners.
type server struct {
	log     *slog.Logger
	handler http.Handler
	metrics http.Handler
	sync    *syncapi.API
	// certificate is that of the federation's listener; nil without federation.
	certificate *certificate.Store
	// pushRules are everybody's.
	pushRules *push.Book
	// federation is nil if the server has none.
	federation *federationapi.API
	// closers stop what was started, the last first.
	closers []func() error
}

// newServer starts the parts from the bottom up and wires them together.
func newServer(ctx context.Context, cfg *config.Config, log *slog.Logger) (_ *server, err error) {
	s := &server{log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	dsn := cfg.Database
	if dsn == "" {
		cluster, err := postgres.Start(ctx, postgres.Options{DataDir: cfg.DataDir, Logger: log})
		if err != nil {
			return nil, fmt.Errorf("starting the private PostgreSQL: %w", err)
		}
		s.closers = append(s.closers, cluster.Stop)
		dsn = cluster.ConnString()
	}
	db, err := storage.Open(ctx, dsn, storage.Options{Logger: log})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, db.Close)
	key, err := signingkey.Load(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	hasher, err := password.New(cfg.Passwords.BcryptCost)
	if err != nil {
		return nil, err
	}
	if s.pushRules, err = push.NewBook(ctx, db, log); err != nil {
		return nil, err
	}
	o := roomserver.Options{
		DB: db, ServerName: cfg.ServerName, KeyID: key.ID, PrivateKey: key.Private,
		DefaultRoomVersion: cfg.DefaultRoom, ForgetOnLeave: cfg.Rooms.ForgetOnLeave, CacheBytes: int64(cfg.Cache.Budget) / 2,
		Profile: db.ProfileNames, Verdicts: s.pushRules.Verdicts, Logger: log,
	}
	if cfg.Federation.Enabled {
		o.AskPolicyServer = s.askPolicyServer
	}
	return s, s.addAPIs(ctx, cfg, db, roomserver.New(o), hasher, key)
}

// addAPIs puts the APIs on top of the room server.
func (s *server) addAPIs(ctx context.Context, cfg *config.Config, db *storage.DB, rooms *roomserver.Server, hasher *password.Hasher, key signingkey.Key) error {
	limits, logins := rateLimits(cfg)
	var others *clientapi.Federation
	if cfg.Federation.Enabled {
		others = &clientapi.Federation{} // filled in below
	}
	pushers, err := push.NewSender(ctx, push.SenderOptions{
		DB: db, Rooms: rooms, Book: s.pushRules, AllowPrivateGateways: cfg.Push.AllowPrivateGateways, Logger: s.log,
	})
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() error { pushers.Stop(); return nil })
	index, err := s.searchIndex(ctx, cfg, db, rooms)
	if err != nil {
		return err
	}
	people := search.NewPeople(search.PeopleOptions{DB: db, ServerName: cfg.ServerName, AllLocal: cfg.UserDirectory.AllLocalUsers, Logger: s.log})
	s.closers = append(s.closers, func() error { people.Stop(); return nil })
	mailer, err := mailer(cfg)
	if err != nil {
		return err
	}
	later := delayed.New(delayed.Options{
		DB: db, Rooms: rooms, MaxDelay: time.Duration(cfg.DelayedEvents.MaxDelay), MaxPerUser: cfg.DelayedEvents.MaxPerUser,
		SendLimit: limits[httpapi.RateMessage], ManageLimit: limits[httpapi.RateMessage], Logger: s.log,
	})
	identities, err := newIdentityClient(cfg, key)
	if err != nil {
		return err
	}
	providers, err := ssoProviders(cfg)
	if err != nil {
		return err
	}
	client := clientapi.New(clientapi.Options{
		SSO:      providers,
		Identity: identities, OAuthKey: oauthKey(cfg, key),
		Delayed: later, LiveKit: cfg.RTC.LiveKitServiceURLs, Notices: serverNotices(cfg),
		Search: index,
		People: people, PresenceEnabled: cfg.Presence.Enabled,
		Mailer: mailer, EmailRequired: cfg.Registration.RequireEmail, ClientURLs: cfg.ClientURLs,
		PushRules: s.pushRules, Pushers: pushers,
		Federation: others,
		DB:         db, Rooms: rooms, Passwords: hasher,
		PublicBaseURL: cfg.PublicBaseURL, Support: support(cfg),
		RegistrationEnabled: cfg.Registration.Enabled, RegistrationSecret: cfg.Registration.SharedSecret,
		RegistrationTokenRequired: cfg.Registration.RequireToken, GuestsAllowed: cfg.Registration.AllowGuests,
		Terms: terms(cfg), TURN: turn(cfg),
		PasswordPolicy:      password.Policy{MinLength: cfg.Passwords.MinimumLength, Require: cfg.Passwords.Require},
		AccessTokenLifetime: time.Duration(cfg.AccessTokens.Lifetime), LoginLimit: logins,
		LeaveRooms: rooms.LeaveAll, OnProfileChange: rooms.UpdateProfile,
		Version: versionName(), Logger: s.log,
	})
	s.closers = append(s.closers, func() error { client.Close(); return nil })
	var asker *federation.Client // nil without federation
	if cfg.Federation.Enabled {
		if asker, err = newFederationClient(ctx, cfg, db, key, s.log); err != nil {
			return err
		}
		s.closers = append(s.closers, func() error { asker.Close(); return nil })
	}
	media, err := newMedia(cfg, db, asker, s.log)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, func() error { media.Close(); return nil })
	posKey := sha256.Sum256(append([]byte("sliding sync positions "), key.Private.Seed()...))
	s.sync = syncapi.New(syncapi.Options{
		OnTyping: s.onTyping,
		DB:       db, Rooms: rooms, ServerName: cfg.ServerName, CacheBytes: int64(cfg.Cache.Budget) / 2,
		PresenceEnabled: cfg.Presence.Enabled, PosKey: posKey[:], Logger: s.log,
	})
	api := httpapi.NewServer(httpapi.Options{
		Authenticate: client.Authenticate, Seen: client.Seen, RateLimits: limits, AdminContact: adminContact(cfg), Logger: s.log})
	client.Register(api)
	s.sync.Register(api)
	media.Register(api)
	s.handler = api
	if err := s.addFederation(ctx, cfg, db, rooms, asker, identities, media, api, others); err != nil {
		return err
	}
	if err := client.ResumeDeactivations(ctx); err != nil {
		return err
	}
	later.Start()
	s.closers = append(s.closers, func() error { later.Stop(); return nil })
	s.metrics = metricsHandler(db)
	return nil
}

func serverNotices(cfg *config.Config) clientapi.ServerNotices {
	n := cfg.ServerNotices
	return clientapi.ServerNotices{UserID: n.UserID(cfg.ServerName), DisplayName: n.DisplayName, AvatarURL: n.AvatarURL,
		RoomName: n.RoomName, RoomTopic: n.RoomTopic, RoomAvatarURL: n.RoomAvatarURL, AutoJoin: n.AutoJoin}
}

// onTyping tells other servers who types.
func (s *server) onTyping(ctx context.Context, roomID, userID string, typing bool) {
	if s.federation != nil {
		s.federation.Typing(ctx, roomID, userID, typing)
	}
}

// askPolicyServer asks by way of the federation, which is there before anybody can send.
func (s *server) askPolicyServer(ctx context.Context, p *roomserver.PolicyServer, pdu gomatrixserverlib.PDU) (gomatrixserverlib.PDU, error) {
	return s.federation.AskPolicyServer(ctx, p, pdu)
}

// endLongPolls answers the clients that wait for news.
func (s *server) endLongPolls() { s.sync.Close() }

// close stops everything, the last started first.
func (s *server) close() error {
	var all []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		all = append(all, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(all...)
}

// rateLimits are the configured budgets by class, and that for logins by account.
func rateLimits(cfg *config.Config) (byClass map[httpapi.RateClass]httpapi.Limit, logins httpapi.Limit) {
	if !cfg.RateLimits.Enabled {
		return nil, httpapi.Limit{}
	}
	byClass = map[httpapi.RateClass]httpapi.Limit{}
	for class, r := range map[httpapi.RateClass]config.Rate{
		httpapi.RateMessage: cfg.RateLimits.Messages, httpapi.RateJoin: cfg.RateLimits.Joins,
		httpapi.RateInvite: cfg.RateLimits.Invites, httpapi.RateLogin: cfg.RateLimits.Logins,
		httpapi.RateRegister: cfg.RateLimits.Registration, httpapi.RateExpensive: cfg.RateLimits.Expensive,
	} {
		byClass[class] = httpapi.Limit{PerSecond: r.PerSecond, Burst: r.Burst}
	}
	return byClass, byClass[httpapi.RateLogin]
}

func support(cfg *config.Config) *clientapi.Support {
	c := cfg.Support
	if c == (config.Support{}) {
		return nil
	}
	s := &clientapi.Support{Page: c.Page}
	if c.Email != "" || c.MXID != "" {
		s.Contacts = []clientapi.SupportContact{{Role: "m.role.admin", MatrixID: c.MXID, Email: c.Email}}
	}
	return s
}

// adminContact is the address of whom to turn to: without anybody named, the server itself.
func adminContact(cfg *config.Config) string {
	switch c := cfg.Support; {
	case c.Page != "":
		return c.Page
	case c.Email != "":
		return "mailto:" + c.Email
	case c.MXID != "":
		return "https://matrix.to/#/" + url.PathEscape(c.MXID)
	case cfg.PublicBaseURL != "":
		return cfg.PublicBaseURL
	}
	return "https://" + cfg.ServerName
}

func terms(cfg *config.Config) *clientapi.Terms {
	t := cfg.Registration.Terms
	if t.ServiceURL == "" && t.PrivacyURL == "" {
		return nil
	}
	return &clientapi.Terms{Version: t.Version, Language: t.Language, ServiceURL: t.ServiceURL, PrivacyURL: t.PrivacyURL}
}

// mailer is nil when no mail is to be sent.
func mailer(cfg *config.Config) (*mail.Mailer, error) {
	e := cfg.Email
	if e.SMTPServer == "" {
		return nil, nil
	}
	return mail.New(mail.Options{Server: e.SMTPServer, TLS: e.TLS, Username: e.Username, Password: e.Password, From: e.From})
}

func turn(cfg *config.Config) *clientapi.TURN {
	t := cfg.TURN
	if len(t.URIs) == 0 {
		return nil
	}
	return &clientapi.TURN{URIs: t.URIs, SharedSecret: t.SharedSecret, Username: t.Username, Password: t.Password,
		Lifetime: time.Duration(t.Lifetime)}
}

// oauthKey is nil without the OAuth 2.0 API.
func oauthKey(cfg *config.Config, key signingkey.Key) []byte {
	if !cfg.OAuth.Enabled {
		return nil
	}
	sum := sha256.Sum256(append([]byte("OAuth clients "), key.Private.Seed()...))
	return sum[:]
}

// metricsHandler serves what operators and profilers ask for.
func metricsHandler(db *storage.DB) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.Handler())
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		if err := db.Ping(ctx); err != nil {
			http.Error(w, "the database doesn't answer", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	return mux
}
