package push

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

const (
	// maxThreads bounds the threads of which is remembered who subscribes to them.
	maxThreads = 10_000
	// maxSubscriptions bounds the threads of which a user says anything.
	maxSubscriptions = 10_000
)

// threads knows who subscribes to which threads. The rules for threads count for those only
// who have ever said anything of one: clients of others know nothing of subscriptions, and
// their users want to hear of threads as of all else.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4306
type threads struct {
	db  *storage.DB
	log *slog.Logger
	// users are those who have said anything.
	users *audience[struct{}]
	mu    sync.Mutex // guards serial, and what is added to known
	// serial counts the changes, so that nothing is kept that was read before one.
	serial int
	known  *lru.Cache[threadKey, map[string]bool]
}

type threadKey struct {
	room int64
	root string
}

func newThreads(db *storage.DB) *threads {
	known, err := lru.New[threadKey, map[string]bool](maxThreads)
	if err != nil {
		panic(err) // only for a size that isn't positive
	}
	return &threads{db: db, users: newAudience[struct{}](), known: known}
}

// load reads who has said anything.
func (t *threads) load(ctx context.Context) error {
	users, err := t.db.WhoSubscribes(ctx)
	if err != nil {
		return err
	}
	return t.users.add(ctx, t.db, users...)
}

func (t *threads) follow(b *storage.Batch) {
	for _, c := range b.Changes {
		if c.Room != nil && len(c.Room.Memberships) > 0 {
			t.users.mu.Lock()
			for _, m := range c.Room.Memberships {
				t.users.set(m)
			}
			t.users.mu.Unlock()
		}
		for _, s := range c.ThreadSubscriptions {
			t.mu.Lock()
			t.serial++
			t.known.Remove(threadKey{s.RoomNID, s.ThreadID})
			t.mu.Unlock()
		}
	}
}

// says reports whether a user has ever said anything of a thread.
func (t *threads) says(userID string) bool {
	t.users.mu.RLock()
	defer t.users.mu.RUnlock()
	return t.users.users[userID] != nil
}

// subscribers are those who subscribe to a thread.
func (t *threads) subscribers(k threadKey) map[string]bool {
	if known, ok := t.known.Get(k); ok {
		return known
	}
	t.mu.Lock()
	serial := t.serial
	t.mu.Unlock()
	list, err := t.db.ThreadSubscribers(context.Background(), k.room, k.root)
	if err != nil {
		t.log.Error("who subscribes to a thread can't be read; it counts as nobody", "err", err)
		return nil
	}
	found := map[string]bool{}
	for _, userID := range list {
		found[userID] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.serial == serial {
		t.known.Add(k, found)
	}
	return found
}

// concern reports whether the rules for threads count for anybody in a room.
func (t *threads) concern(room int64) bool {
	t.users.mu.RLock()
	defer t.users.mu.RUnlock()
	return len(t.users.rooms[room]) > 0
}

// listeners are those in the event's room for whom the rules for threads count, but for some
// who are asked anyway: none for an event that isn't in a thread.
func (t *threads) listeners(on *subject, asked []*listener[*Ruleset]) (users []string) {
	if on.thread == "" {
		return nil
	}
	known := make(map[string]bool, len(asked))
	for _, l := range asked {
		known[l.id] = true
	}
	t.users.mu.RLock()
	defer t.users.mu.RUnlock()
	for _, l := range t.users.rooms[on.Event.RoomNID] {
		if !known[l.id] {
			users = append(users, l.id)
		}
	}
	return users
}

// subscription is whether a user subscribes to the thread that the event is in, if there is one
// and they say anything of threads.
func (on *subject) subscription(userID string) (subscribed, says bool) {
	if on.thread == "" || on.threads == nil || !on.threads.says(userID) {
		return false, false
	}
	return on.threads.subscribers(threadKey{on.Event.RoomNID, on.thread})[userID], true
}

// Subscribe has a user subscribe to a thread. A cause makes it automatic: the event for which
// their client does it. That has no effect where they do already, and is refused after they
// have ended it, until something happens that came later. Errors are Matrix errors.
func (b *Book) Subscribe(ctx context.Context, s storage.ThreadSubscription, cause *storage.Event) error {
	if cause != nil && roomserver.ThreadOf(cause) != s.ThreadID {
		return httpapi.New(http.StatusBadRequest, "IO.ELEMENT.MSC4306.M_NOT_IN_THREAD", "%s isn't in the thread", cause.ID)
	}
	s.Subscribed, s.Automatic = true, cause != nil
	return b.setSubscription(ctx, s, func(old *storage.ThreadSubscription) (bool, error) {
		switch {
		case old.Subscribed:
			return old.Automatic && !s.Automatic, nil
		case old.Position > 0 && cause != nil && cause.Position <= old.Position:
			return false, httpapi.New(http.StatusConflict, "IO.ELEMENT.MSC4306.M_CONFLICTING_UNSUBSCRIPTION",
				"The subscription was ended after %s", cause.ID)
		case old.Position > 0:
			return true, nil
		}
		n, err := b.db.CountThreadSubscriptions(ctx, s.UserID)
		if err == nil && n >= maxSubscriptions {
			err = httpapi.LimitReached("You have said something of %d threads, the most there may be", maxSubscriptions)
		}
		return true, err
	})
}

// Unsubscribe ends a user's subscription to a thread, if there is one.
func (b *Book) Unsubscribe(ctx context.Context, s storage.ThreadSubscription) error {
	return b.setSubscription(ctx, s, func(old *storage.ThreadSubscription) (bool, error) { return old.Subscribed, nil })
}

// setSubscription changes what a user says of a thread, unless decide says otherwise.
func (b *Book) setSubscription(ctx context.Context, s storage.ThreadSubscription, decide func(old *storage.ThreadSubscription) (bool, error)) error {
	mu := b.lockOf(s.UserID)
	mu.Lock()
	defer mu.Unlock()
	old, err := b.db.GetThreadSubscription(ctx, s.UserID, s.RoomNID, s.ThreadID)
	if errors.Is(err, storage.ErrNotFound) {
		old, err = &storage.ThreadSubscription{}, nil
	}
	if err != nil {
		return err
	}
	if change, err := decide(old); err != nil || !change {
		return err
	}
	if !b.threads.says(s.UserID) { // from the change on their rules count
		if err := b.threads.users.add(ctx, b.db, s.UserID); err != nil {
			return err
		}
	}
	return b.db.Stream.Append(ctx, &storage.Change{ThreadSubscriptions: []storage.ThreadSubscription{s}})
}

// Subscriptions are changes of subscriptions as clients are told of them, by room and thread.
type Subscriptions struct {
	Subscribed   map[string]map[string]subscription `json:"subscribed,omitempty"`
	Unsubscribed map[string]map[string]subscription `json:"unsubscribed,omitempty"`
	// PrevBatch, in sliding sync, and End are where more of them are found, "" for no more.
	PrevBatch string `json:"prev_batch,omitempty"`
	End       string `json:"end,omitempty"`
}

type subscription struct {
	Automatic *bool            `json:"automatic,omitempty"`
	BumpStamp storage.Position `json:"bump_stamp"`
}

// DescribeSubscriptions tells of changes.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4308
func DescribeSubscriptions(list []storage.ThreadSubscription) *Subscriptions {
	all := &Subscriptions{Subscribed: map[string]map[string]subscription{}, Unsubscribed: map[string]map[string]subscription{}}
	for _, s := range list {
		rooms, told := all.Unsubscribed, subscription{BumpStamp: s.Position}
		if s.Subscribed {
			rooms, told.Automatic = all.Subscribed, &s.Automatic
		}
		if rooms[s.RoomID] == nil {
			rooms[s.RoomID] = map[string]subscription{}
		}
		rooms[s.RoomID][s.ThreadID] = told
	}
	return all
}
