// Package roomserver keeps the rooms: it authorises events, resolves state,
// persists through the stream, and decides who may see what. It never uses the
// network, so what it does follows from the events it is given alone.
package roomserver

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"hearth/storage"
)

// ErrUnknownRoom is returned for a room that this server has never been in.
var ErrUnknownRoom = errors.New("unknown room")

// Options of New. All but DefaultRoomVersion and Logger are required.
type Options struct {
	DB         *storage.DB
	ServerName string
	KeyID      string // such as "ed25519:abc"
	PrivateKey ed25519.PrivateKey
	// DefaultRoomVersion is used for new rooms that name none; "" is "12".
	DefaultRoomVersion string
	// ForgetOnLeave has users forget a room when they leave it or are made to.
	ForgetOnLeave bool
	// CacheBytes bounds what rooms and events take in memory.
	CacheBytes int64
	// Profile returns what a local user's membership events say of them.
	Profile func(ctx context.Context, userID string) (displayName, avatarURL string, err error)
	// Verdicts, if set, returns what an event means to those who have joined its room and
	// whose push rules aren't the default ones. It is called while the room is locked.
	Verdicts func(Occasion) []Verdict
	// AskPolicyServer, if set, has a room's policy server sign an event. It is called while
	// nothing is locked; errors are *httpapi.Error.
	AskPolicyServer func(context.Context, *PolicyServer, gomatrixserverlib.PDU) (gomatrixserverlib.PDU, error)
	Logger          *slog.Logger
}

// Server is the room server. All methods are safe for concurrent use.
type Server struct {
	db   *storage.DB
	o    Options
	log  *slog.Logger
	live *roomCache
	// events holds events by number. An event that was built but isn't committed
	// yet is in it too; nobody can ask for it by id before it is.
	events *otter.Cache[int64, *storage.Event]
	// histories is what Visibility reads, by room and user.
	histories *otter.Cache[historyKey, *Visibility]
	servers   *serverCaches
	upgrading singleflight.Group
	// gaps are those of rooms' timelines, by room.
	gaps *otter.Cache[int64, []storage.Gap]
	// roots are events at which threads may begin, as was asked already.
	roots *otter.Cache[string, struct{}]
	// pasts counts the changes to rooms' pasts, which what was read before doesn't know of.
	pasts       atomic.Int64
	completions completions
	// newestRoom is the time of the newest create event; see createTime.
	newestRoom atomic.Int64
}

// New starts a room server on top of the stream.
func New(o Options) *Server {
	if o.DefaultRoomVersion == "" {
		o.DefaultRoomVersion = "12"
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Server{db: o.DB, o: o, log: o.Logger, live: newRoomCache(o.CacheBytes / 2)}
	s.events = otter.Must(&otter.Options[int64, *storage.Event]{
		MaximumWeight: uint64(o.CacheBytes / 2),
		Weigher:       func(_ int64, e *storage.Event) uint32 { return uint32(len(e.JSON)) + 400 },
	})
	s.histories = otter.Must(&otter.Options[historyKey, *Visibility]{MaximumSize: 20_000})
	s.servers = newServerCaches()
	s.gaps = otter.Must(&otter.Options[int64, []storage.Gap]{MaximumSize: 50_000})
	s.roots = otter.Must(&otter.Options[string, struct{}]{MaximumSize: 20_000})
	o.DB.Stream.Follow(s.follow)
	return s
}

// ServerName is the name of this homeserver.
func (s *Server) ServerName() string { return s.o.ServerName }

// ForgetsOnLeave is whether users forget a room when they leave it or are made to.
func (s *Server) ForgetsOnLeave() bool { return s.o.ForgetOnLeave }

// DefaultRoomVersion is the version of new rooms that name none.
func (s *Server) DefaultRoomVersion() string { return s.o.DefaultRoomVersion }

// follow makes committed changes visible: it runs before anyone is told that
// their change is done.
func (s *Server) follow(b *storage.Batch) {
	for _, c := range b.Changes {
		if c.Room == nil {
			continue
		}
		if rm := s.live.peek(c.Room.Room.ID); rm != nil {
			rm.publish(c.Room)
		}
		if len(c.Room.Gaps)+len(c.Room.JudgedAnew) > 0 {
			s.forgetPast(c.Room.Room.NID)
		}
		for _, e := range c.Room.JudgedAnew {
			s.events.Set(e.NID, e)
		}
		if c.Room.Completed {
			s.completions.tell()
		}
		for _, redacted := range c.Room.Redactions {
			s.events.Set(redacted.NID, redacted)
		}
	}
}
