package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"hearth/clientapi"
	"hearth/federationapi"
	"hearth/federationapi/client"
	"hearth/identity"
	"hearth/internal/certificate"
	"hearth/internal/config"
	"hearth/internal/httpapi"
	"hearth/internal/signingkey"
	"hearth/mediaapi"
	"hearth/roomserver"
	"hearth/storage"
)

// newFederationClient is what asks other servers.
func newFederationClient(ctx context.Context, cfg *config.Config, db *storage.DB, key signingkey.Key, log *slog.Logger) (*client.Client, error) {
	f := cfg.Federation
	pool, err := certificate.Pool(f.TrustedCAFiles)
	if err != nil {
		return nil, err
	}
	if !f.VerifyCertificates {
		log.Warn("OTHER SERVERS' CERTIFICATES AREN'T CHECKED (federation.verify_certificates): anybody on the way to them can pretend to be them. Use this for tests only")
	}
	return client.New(ctx, client.Options{
		DB: db, ServerName: cfg.ServerName, KeyID: key.ID, PrivateKey: key.Private,
		RootCAs: pool, InsecureSkipVerify: !f.VerifyCertificates,
		Allow: f.AllowServers, Deny: f.DenyServers, AllowPrivateRanges: f.AllowPrivateRanges, MaxPause: time.Duration(f.LongestPause),
		Notaries: f.KeyServers, Logger: log,
	})
}

// newIdentityClient is what asks identity servers.
func newIdentityClient(cfg *config.Config, key signingkey.Key) (*identity.Client, error) {
	pool, err := certificate.Pool(cfg.Federation.TrustedCAFiles)
	if err != nil {
		return nil, err
	}
	return identity.New(identity.Options{ServerName: cfg.ServerName, KeyID: key.ID, PrivateKey: key.Private,
		Allowed: cfg.Identity.Allowed, AllowPrivateRanges: cfg.Identity.AllowPrivateRanges, RootCAs: pool}), nil
}

// addFederation puts the server-server API beside the others. A reverse proxy may
// pass it on from the clients' listener; its own listener serves nothing else.
func (s *server) addFederation(ctx context.Context, cfg *config.Config, db *storage.DB, rooms *roomserver.Server, asker *client.Client, identities *identity.Client, media *mediaapi.API, api *httpapi.Server, users *clientapi.Federation) error {
	if asker == nil {
		return nil
	}
	var err error
	if s.certificate, err = federationCertificate(cfg, s.log); err != nil {
		return err
	}
	limit := httpapi.Limit{}
	if cfg.RateLimits.Enabled {
		limit = httpapi.Limit{PerSecond: cfg.RateLimits.Federation.PerSecond, Burst: cfg.RateLimits.Federation.Burst}
	}
	f := federationapi.New(federationapi.Options{
		DB: db, Rooms: rooms, Client: asker, RateLimit: limit,
		Media:           &federationapi.Media{Download: media.ServeDownload, Thumbnail: media.ServeThumbnail},
		PresenceEnabled: cfg.Presence.Enabled, ShowTyping: s.sync.ShowTyping,
		Identity: identities, PublicAddress: cfg.Federation.PublicAddress, Version: versionName(), Logger: s.log,
	})
	f.Register(api)
	s.federation = f
	*users = clientapi.Federation{Join: f.Join, Leave: f.Leave, Invite: f.Invite, ResolveAlias: f.ResolveAlias, AskSpace: f.AskSpace, PublicRooms: f.PublicRooms,
		Profile: f.Profile, QueryKeys: f.QueryKeys, ClaimKeys: f.ClaimKeys}
	users.Backfill, users.Knock, users.TimeNear, users.Redeem = f.Backfill, f.Knock, f.TimeNear, f.Redeem
	s.closers = append(s.closers, func() error { f.StopSending(); return nil })
	return f.StartSending(ctx)
}

func federationCertificate(cfg *config.Config, log *slog.Logger) (*certificate.Store, error) {
	if f := cfg.Federation; f.TLSCertificateFile != "" {
		return certificate.Load(f.TLSCertificateFile, f.TLSKeyFile, log)
	}
	log.Info("no certificate is named (federation.tls_certificate_file): the one in use signs itself, which other servers don't accept. Behind a proxy it doesn't matter")
	return certificate.SelfSigned(cfg.DataDir, federationapi.CertificateName(cfg.ServerName, cfg.Federation.PublicAddress), log)
}

// federationServer serves other servers over TLS.
func federationServer(s *server) *http.Server {
	server := &http.Server{
		Handler:           federationOnly(s.handler),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // mostly scanners' handshakes
	}
	if s.certificate != nil {
		server.TLSConfig = &tls.Config{GetCertificate: s.certificate.Get, MinVersion: tls.VersionTLS12}
	}
	return server
}

// federationOnly leaves of a handler what other servers use.
func federationOnly(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, prefix := range []string{"/_matrix/federation/", "/_matrix/key/", "/_matrix/policy/", "/.well-known/matrix/"} {
			if strings.HasPrefix(r.URL.Path, prefix) {
				h.ServeHTTP(w, r)
				return
			}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		w.Write([]byte(`{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request"}`))
	})
}
