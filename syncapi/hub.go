package syncapi

import (
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"hearth/roomserver"
	"hearth/storage"
)

const (
	// maxTail bounds the recent events that are kept of a room, and minTail is how
	// many stay when the tail is cut.
	maxTail, minTail = 256, 128
	// maxReceiptTail bounds the recent receipts that are kept of a room.
	maxReceiptTail = 256
)

// hub is what the stream has brought, for those who sync. One lock guards all of
// it: the follower holds it for a batch, which is microseconds, and a sync while
// it collects what it will show, so that what it shows is of one moment.
type hub struct {
	o  Options
	mu sync.RWMutex
	// position is how far the stream was followed.
	position storage.Position
	rooms    map[int64]*room
	byID     map[string]*room
	users    map[string]*user
	presence map[string]storage.Presence
	// sticky is what there is of sticky events in rooms, once it was read, and stickyNewest
	// the position of the newest of all.
	sticky       map[int64]storage.StickyNote
	stickyNewest storage.Position
	stickyKnown  bool
	peekers      peekers
	// heard is when the servers of others last said anything of their presence.
	heard map[string]time.Time
	// presenceLog lists who changed, in the stream's order, bounded.
	presenceLog []userChange
	// deviceLog lists whose devices changed, in the stream's order: every change
	// after deviceLogFrom.
	deviceLog     []userChange
	deviceLogFrom storage.Position
	// devicesUpTo is how far it was found out whom the changes in deviceLog concern.
	devicesUpTo   storage.Position
	devicesToFind chan struct{}
	// bytes is what all tails take, and standing about what users and rooms take
	// besides, as of the janitor's last round. Both share the budget.
	bytes, standing int64

	typingSerial atomic.Int64

	wakeMu sync.Mutex
	toWake []*user
	wake   chan struct{}
	done   chan struct{}
}

// userChange is something of a user's that changed.
type userChange struct {
	position storage.Position
	userID   string
}

// maxPresenceLog bounds presenceLog; who syncs from before its beginning gets the
// presence of everyone.
const maxPresenceLog = 10_000

// room is what is known of a room that somebody syncs.
type room struct {
	nid int64
	id  string
	// view is the newest committed state; nil until loaded.
	view *roomserver.View
	// outline stands for the view until that is loaded; nil until it is read.
	outline *outline
	// latest is the position of the newest event, -1 until it is read.
	latest storage.Position
	// bumped is the position of the newest event that counts as activity, 0 until it is
	// read.
	bumped storage.Position
	// stateLog holds the newest changes of state, oldest first: every one after stateFrom.
	stateLog  []stateChange
	stateFrom storage.Position
	// tail holds the newest events, oldest first: every event after tailFrom. It is
	// appended to, or replaced when it is cut, so that a reader may keep the slice.
	tail     []*entry
	tailFrom storage.Position
	// liveFrom is from where on the tail came from the stream: what was read from the
	// database doesn't say whom it highlights for.
	liveFrom storage.Position
	bytes    int64
	used     time.Time
	// receipts holds the newest receipts: every one after receiptsFrom.
	receipts     []storage.Receipt
	receiptsFrom storage.Position
	// watchers are the users who sync and have joined the room.
	watchers map[*user]struct{}
	typing   map[string]time.Time
	// typingSerial is the serial of the newest change of who is typing.
	typingSerial int64
}

// entry is an event of a tail. It is rendered when the first reader wants it.
type entry struct {
	event      *storage.Event
	highlights []string
	// exceptions are what it means to those with push rules of their own.
	exceptions []storage.Exception
	// thread is the root of the event's thread, "" in the main timeline.
	thread string
	// parent is the event that this one relates to, "" for none.
	parent string
	// related is whether others relate to this event.
	related  atomic.Bool
	rendered atomic.Pointer[roomserver.Rendered]
}

func newEntry(e *storage.Event, highlights []string, exceptions []storage.Exception) *entry {
	n := &entry{event: e, highlights: highlights, exceptions: exceptions}
	if r, ok := e.Relation(); ok {
		if n.parent = r.EventID; r.Type == "m.thread" {
			n.thread = r.EventID
		}
	}
	return n
}

// threadOf is the thread of an event of the tail: its own, or that of the event that it relates
// to, over at most three relations. It reports false if memory doesn't say.
//
// https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts
func (r *room) threadOf(e *entry) (thread string, ok bool) {
	const maxHops = 3
	at := len(r.tail)
	for hop := 1; ; hop++ {
		if e.thread != "" || e.parent == "" || hop == maxHops {
			return e.thread, true
		}
		parent := e.parent
		for at--; at >= 0 && r.tail[at].event.ID != parent; at-- {
		}
		if at < 0 {
			return "", false
		}
		e = r.tail[at]
	}
}

// relate notes which events of the tail the entries relate to. What relates to an
// event comes after it, so that a tail knows all there is of its own.
func (r *room) relate(entries []*entry) {
	parents := map[string]bool{}
	for _, e := range entries {
		if e.parent != "" {
			parents[e.parent] = true
		}
	}
	if len(parents) == 0 {
		return
	}
	for _, e := range r.tail {
		if parents[e.event.ID] {
			e.related.Store(true)
		}
	}
}

// firstAfter is the index of the tail's first event after the position.
func (r *room) firstAfter(p storage.Position) int {
	return sort.Search(len(r.tail), func(i int) bool { return r.tail[i].event.Position > p })
}

// user is somebody who syncs.
type user struct {
	id string
	// memberships by room; the hub's lock guards them.
	memberships map[int64]storage.Membership
	loaded      bool
	// outlines are of the rooms that the user isn't in, as far as they were read.
	outlines map[int64]*outline
	// threads is the position of the newest change of what they say of threads, as far as
	// that is known.
	threads storage.Position
	// accountData is the position of the newest account data.
	accountData storage.Position
	// roomData is what is known of the account data of rooms, by the room's id; direct
	// has the rooms that the user holds for direct messages.
	roomData map[string]roomData
	direct   map[string]bool
	directAt storage.Position
	// unread is written under the hub's lock, or under its read lock and mu.
	unread map[int64]*unreadCount
	// ignored are those whom the user doesn't want to hear; the map is replaced, not
	// changed.
	ignored   map[string]bool
	ignoredAt storage.Position
	// invites say whose invitations the user is shown.
	invites   roomserver.InviteRules
	invitesAt map[string]storage.Position
	// toDevice is the position of the newest message to each device; what came up to
	// followedFrom isn't in it.
	toDevice     map[string]storage.Position
	followedFrom storage.Position
	// readAt is the position of the user's newest receipt.
	readAt storage.Position
	// news is the position of the newest thing that concerns the user, and typing
	// the serial of the newest change in one of their rooms.
	news   atomic.Int64
	typing atomic.Int64
	// encrypted is the position of the newest encrypted event that the user has sent.
	encrypted atomic.Int64
	// deviceNews is the position of the newest change of devices of somebody who shares a
	// room with the user.
	deviceNews atomic.Int64

	mu      sync.Mutex
	waiters []*waiter
	queued  bool // is in the hub's toWake
	// lastSync is when the user last synced or stopped waiting.
	lastSync atomic.Int64
	// lastWoken is when their waiting requests last had something to look at.
	lastWoken atomic.Int64
}

func newHub(o Options) *hub {
	position := o.DB.Stream.Position()
	h := &hub{
		o: o, position: position, deviceLogFrom: position, devicesUpTo: position, devicesToFind: make(chan struct{}, 1), rooms: map[int64]*room{}, byID: map[string]*room{},
		users: map[string]*user{}, presence: map[string]storage.Presence{}, sticky: map[int64]storage.StickyNote{}, peekers: peekers{byRoom: map[int64]map[*waiter]struct{}{}}, heard: map[string]time.Time{},
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	// Over a restart the serial must grow, or clients would miss who is typing.
	h.typingSerial.Store(time.Now().UnixMilli())
	go h.wakeUp()
	go h.tidy()
	go h.findSharers()
	return h
}

// now is the position up to which tokens can have been given out. It may be ahead
// of the stream's own for as long as the followers of a batch are told.
func (h *hub) now() storage.Position {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.position
}

func (h *hub) close() { close(h.done) }

// concerns notes that something at the position is news to the user.
func (h *hub) concerns(u *user, p storage.Position) {
	if u.news.Load() < p {
		u.news.Store(p)
	}
	h.queueWake(u)
}

func (h *hub) queueWake(u *user) {
	u.mu.Lock()
	wanted := len(u.waiters) > 0 && !u.queued
	u.queued = u.queued || wanted
	u.mu.Unlock()
	if wanted {
		h.wakeMu.Lock()
		h.toWake = append(h.toWake, u)
		h.wakeMu.Unlock()
	}
}

// poke starts the waking of those who were queued.
func (h *hub) poke() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// wakeUp wakes waiting requests on a goroutine of its own, so that the stream's
// writer doesn't wait for a thousand of them.
func (h *hub) wakeUp() {
	for {
		select {
		case <-h.wake:
		case <-h.done:
			return
		}
		h.wakeMu.Lock()
		list := h.toWake
		h.toWake = nil
		h.wakeMu.Unlock()
		for _, u := range list {
			u.wakeUp()
		}
	}
}

func (u *user) waiting() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.waiters) > 0
}
