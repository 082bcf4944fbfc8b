// Package clientapi is the client-server API, one file per module of the
// specification. Its handlers parse a request, call storage or the room server
// once, and answer; it holds no SQL and decides nothing about rooms.
package clientapi

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"hearth/delayed"
	"hearth/identity"
	"hearth/internal/httpapi"
	"hearth/internal/idp"
	"hearth/internal/mail"
	"hearth/internal/password"
	"hearth/push"
	"hearth/roomserver"
	"hearth/search"
	"hearth/storage"
)

// Options of New. DB, Rooms, Passwords, PushRules, Pushers, People and Delayed are required.
type Options struct {
	DB        *storage.DB
	Rooms     *roomserver.Server
	Passwords *password.Hasher
	// PushRules and Pushers answer what belongs to push notifications.
	PushRules *push.Book
	Pushers   *push.Sender
	// PublicBaseURL is what /.well-known/matrix/client announces; "" for nothing.
	PublicBaseURL string
	// Support is what /.well-known/matrix/support announces; nil for nothing.
	Support *Support
	// RegistrationEnabled lets anybody make an account.
	RegistrationEnabled bool
	// RegistrationTokenRequired asks them for a token, Terms, if not nil, for their
	// consent.
	RegistrationTokenRequired bool
	Terms                     *Terms
	// GuestsAllowed lets anybody in as a guest.
	GuestsAllowed bool
	// PasswordPolicy is what new passwords of people must be like.
	PasswordPolicy password.Policy
	// Mailer sends mail to people who have e-mail addresses; nil for nobody. Mail needs
	// PublicBaseURL. EmailRequired makes everybody have one who registers.
	Mailer        *mail.Mailer
	EmailRequired bool
	// ClientURLs are the clients to which people are led without being asked.
	ClientURLs []string
	// TURN is what relays calls; nil for nothing.
	TURN *TURN
	// RegistrationSecret, unless "", lets who knows it make accounts.
	RegistrationSecret string
	// AccessTokenLifetime is that of tokens that can be refreshed; 0 means an hour.
	AccessTokenLifetime time.Duration
	// LoginLimit bounds the password checks per account; the zero value doesn't.
	LoginLimit httpapi.Limit
	// LeaveRooms, if set, makes a user that is being deactivated leave all rooms.
	LeaveRooms func(ctx context.Context, userID string) error
	// OnProfileChange, if set, is called after a user's display name or avatar was
	// set, to update those membership events that show another.
	OnProfileChange func(ctx context.Context, userID string) error
	// PresenceEnabled is whether people see who is online.
	PresenceEnabled bool
	// People is the user directory.
	People *search.People
	// Search finds what was said; nil if the search is turned off.
	Search *search.Index
	// Notices says how administrators write to users.
	Notices ServerNotices
	// Delayed sends events later.
	Delayed *delayed.Scheduler
	// LiveKit are the URLs of services that give clients access to a LiveKit server.
	LiveKit []string
	// OAuthKey, unless nil, turns the OAuth 2.0 API on, which needs PublicBaseURL. It
	// authenticates the ids of clients.
	OAuthKey []byte
	// SSO are providers at which people sign in, which needs PublicBaseURL.
	SSO []*idp.Provider
	// Identity asks identity servers; nil trusts none.
	Identity *identity.Client
	// Federation reaches other servers; nil without federation.
	Federation *Federation
	// Version is the program's, for the landing page.
	Version string
	Logger  *slog.Logger
}

// API answers the client-server API. All methods are safe for concurrent use.
type API struct {
	o          Options
	db         *storage.DB
	rooms      *roomserver.Server
	log        *slog.Logger
	serverName string
	sessions   *sessions
	sightings  *sightings
	auth       *interactiveAuth
	oauth      *oauth
	sso        *ssoSignIns
	// pages are who has signed in to this server's own pages.
	pages  *expirable.LRU[storage.TokenHash, signedIn]
	nonces *nonces
	// crossOrigin refuses the forms of other sites.
	crossOrigin *http.CrossOriginProtection
	walks       hierarchyWalks
	guests      *guests
	notices     notices
	// logins limits password checks by account; nil doesn't.
	logins *httpapi.Limiter
	// mails limits those to one address; nil doesn't.
	mails *httpapi.Limiter
}

// New starts what the API does in the background; Close ends it.
func New(o Options) *API {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.AccessTokenLifetime == 0 {
		o.AccessTokenLifetime = time.Hour
	}
	if o.PublicBaseURL != "" { // the page hands what it gets to the app that has opened it
		o.ClientURLs = append(slices.Clone(o.ClientURLs), strings.TrimSuffix(o.PublicBaseURL, "/")+loginFallbackPath)
	}
	a := &API{
		o: o, db: o.DB, rooms: o.Rooms, log: o.Logger, serverName: o.Rooms.ServerName(),
		sessions:  newSessions(o.DB),
		sightings: newSightings(o.DB, o.Logger),
		auth:      newInteractiveAuth(),
		oauth:     newOAuth(o.OAuthKey),
		sso:       newSSOSignIns(),
		pages:     newPageSessions(),

		crossOrigin: newCrossOrigin(o.PublicBaseURL),

		nonces: newNonces(),
		walks:  newHierarchyWalks(),
	}
	a.guests = newGuests(a)
	a.notices.a, a.notices.ServerNotices, a.notices.seed = a, o.Notices, maphash.MakeSeed()
	if o.LoginLimit.Burst > 0 {
		a.logins = httpapi.NewLimiter(o.LoginLimit)
		a.mails = httpapi.NewLimiter(mailLimit)
	}
	return a
}

// Close writes what is still to be written to the database, which must be open.
func (a *API) Close() {
	a.guests.close()
	a.sightings.close()
}

// Authenticate finds who an access token belongs to; see httpapi.Options.
func (a *API) Authenticate(ctx context.Context, token string) (*httpapi.Requester, error) {
	return a.sessions.authenticate(ctx, token)
}

// Seen records from where a device was used; see httpapi.Options.
func (a *API) Seen(u *httpapi.Requester, ip, userAgent string) {
	a.sightings.add(storage.Sighting{UserID: u.UserID, DeviceID: u.DeviceID, At: time.Now(), IP: ip, UserAgent: userAgent})
}

// Register adds the API's routes to a server.
func (a *API) Register(s *httpapi.Server) {
	s.Register(httpapi.ClientPrefixes, slices.Concat(a.roomRoutes(), a.sessionRoutes(), a.keyRoutes(), a.keyBackupRoutes()))
	s.Register([]string{"/_matrix/client/v1", "/_matrix/client/unstable"}, a.relationRoutes())
	a.registerFinding(s)
	a.registerAccounts(s)
	a.registerDelayed(s)
	a.registerThreadSubscriptions(s)
	a.registerDehydrated(s)
	a.registerRTC(s)
	s.Register([]string{""}, slices.Concat(a.versionsRoutes(), a.wellKnownRoutes(), a.synapseRegisterRoutes(), a.synapseReportRoutes(), a.noticeRoutes(), a.landingRoutes()))
}

// sessionRoutes are those of accounts, sessions and what belongs to a user.
func (a *API) sessionRoutes() []httpapi.Route {
	return slices.Concat(a.loginRoutes(), a.ssoRedirectRoutes(), a.registerRoutes(), a.deviceRoutes(), a.accountRoutes(),
		a.capabilitiesRoutes(), a.profileRoutes(), a.filterRoutes(), a.pushRuleRoutes(), a.pusherRoutes(), a.thirdPartyRoutes(), a.emailRoutes(), a.threepidRoutes(), a.fallbackRoutes())
}

// registerAccounts adds the routes of accounts that aren't below v3.
func (a *API) registerAccounts(s *httpapi.Server) {
	s.Register([]string{"/_matrix/client/v1"}, slices.Concat(a.adminRoutes(), a.loginTokenRoutes(), a.registrationTokenRoutes(), a.appserviceRoutes()))
	s.Register([]string{""}, slices.Concat(a.openIDRoutes(), a.confirmRoutes(), a.authMetadataRoutes(), a.oauthRoutes(), a.ssoRoutes(), a.loginFallbackRoutes()))
}

// ResumeDeactivations finishes the deactivations that a crash interrupted.
func (a *API) ResumeDeactivations(ctx context.Context) error {
	users, err := a.db.LeavingUsers(ctx)
	if err != nil {
		return err
	}
	for _, userID := range users {
		if err := a.leaveRooms(ctx, userID); err != nil {
			return fmt.Errorf("finishing the deactivation of %s: %w", userID, err)
		}
	}
	return nil
}
