package push

import (
	"bytes"
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"slices"
	"sync"

	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

// Book holds everybody's push rules: those of users who have changed theirs in memory,
// since they are asked for with every event of their rooms. All methods are safe for
// concurrent use.
type Book struct {
	db       *storage.DB
	log      *slog.Logger
	custom   *audience[*Ruleset]
	threads  *threads
	seed     maphash.Seed
	changing [64]sync.Mutex // by user
}

// NewBook reads the rules of those who have changed theirs, and follows the stream.
func NewBook(ctx context.Context, db *storage.DB, log *slog.Logger) (*Book, error) {
	b := &Book{db: db, log: log, custom: newAudience[*Ruleset](), threads: newThreads(db), seed: maphash.MakeSeed()}
	if b.log == nil {
		b.log = slog.Default()
	}
	b.threads.log = b.log
	db.Stream.Follow(b.follow)
	db.Stream.Follow(b.threads.follow)
	if err := b.threads.load(ctx); err != nil {
		return nil, err
	}
	all, err := db.ChangedPushRules(ctx)
	if err != nil {
		return nil, err
	}
	changed := map[string]*Ruleset{}
	for userID, content := range all {
		if rules := b.changed(userID, content); rules != nil {
			changed[userID] = rules
		}
	}
	users := make([]string, 0, len(changed))
	for userID := range changed {
		users = append(users, userID)
	}
	if err := b.custom.add(ctx, db, users...); err != nil {
		return nil, err
	}
	b.custom.mu.Lock()
	defer b.custom.mu.Unlock()
	for userID, rules := range changed {
		b.custom.users[userID].of = rules
	}
	return b, nil
}

// changed reads stored rules; nil if they are the default ones after all.
func (b *Book) changed(userID string, content []byte) *Ruleset {
	rules, err := parse(userID, content)
	if err != nil {
		b.log.Error("stored push rules can't be read; the default ones count", "user", userID, "err", err)
		return nil
	}
	if bytes.Equal(rules.content(), DefaultRules(userID)) {
		return nil
	}
	return rules
}

func (b *Book) follow(batch *storage.Batch) {
	b.custom.mu.Lock()
	defer b.custom.mu.Unlock()
	for _, c := range batch.Changes {
		if c.Room != nil {
			for _, m := range c.Room.Memberships {
				b.custom.set(m)
			}
		}
		for _, d := range c.AccountData {
			l := b.custom.users[d.UserID]
			if d.Type != "m.push_rules" || d.RoomID != "" || l == nil {
				continue
			}
			if l.of = b.changed(d.UserID, d.Content); l.of == nil {
				b.custom.remove(d.UserID)
			}
		}
	}
}

// Verdicts is what an event means to those who have joined its room and have changed
// their rules. It fits roomserver.Options.
func (b *Book) Verdicts(o roomserver.Occasion) []roomserver.Verdict {
	b.custom.mu.RLock()
	listeners := slices.Clone(b.custom.rooms[o.Event.RoomNID])
	rules := make([]*Ruleset, len(listeners))
	for i, l := range listeners {
		rules[i] = l.of
	}
	b.custom.mu.RUnlock()
	if len(listeners) == 0 && !b.threads.concern(o.Event.RoomNID) {
		return nil
	}
	on := newSubject(o, b.threads)
	for _, userID := range b.threads.listeners(on, listeners) {
		listeners, rules = append(listeners, &listener[*Ruleset]{id: userID}), append(rules, DefaultRuleset(userID))
	}
	var verdicts []roomserver.Verdict
	for i, l := range listeners {
		if rules[i] == nil || l.id == o.Event.Sender || !o.IsJoined(l.id) {
			continue
		}
		result := rules[i].evaluate(l.id, on)
		verdicts = append(verdicts, roomserver.Verdict{UserID: l.id, Notifies: result.Notifies, Highlights: result.Highlights})
	}
	return verdicts
}

// Evaluate is what an event means to a user.
func (b *Book) Evaluate(userID string, o roomserver.Occasion) Outcome {
	b.custom.mu.RLock()
	var rules *Ruleset
	if l := b.custom.users[userID]; l != nil {
		rules = l.of
	}
	b.custom.mu.RUnlock()
	if rules == nil {
		rules = DefaultRuleset(userID)
	}
	return rules.evaluate(userID, newSubject(o, b.threads))
}

// Rules returns a user's rules, which are the caller's to change.
func (b *Book) Rules(ctx context.Context, userID string) (*Ruleset, error) {
	content, err := b.db.GetAccountData(ctx, userID, "", "m.push_rules")
	if errors.Is(err, storage.ErrNotFound) {
		return DefaultRuleset(userID), nil
	}
	if err != nil {
		return nil, err
	}
	return parse(userID, content)
}

// lockOf is held by who changes what a user says.
func (b *Book) lockOf(userID string) *sync.Mutex {
	return &b.changing[maphash.String(b.seed, userID)%uint64(len(b.changing))]
}

// Change changes a user's rules by a function, whose error is returned. When it returns
// nil, the rules count for every event that comes after.
func (b *Book) Change(ctx context.Context, userID string, change func(*Ruleset) error) error {
	mu := b.lockOf(userID)
	mu.Lock()
	defer mu.Unlock()
	rules, err := b.Rules(ctx, userID)
	if err != nil {
		return err
	}
	if err := change(rules); err != nil {
		return err
	}
	content := rules.content()
	if len(content) > maxContent {
		return httpapi.LimitReached("Push rules together take at most %d bytes", maxContent)
	}
	// The follower gives the user their rules once they are stored.
	if err := b.custom.add(ctx, b.db, userID); err != nil {
		return err
	}
	return b.db.Stream.Append(ctx, &storage.Change{AccountData: []storage.AccountData{
		{UserID: userID, Type: "m.push_rules", Content: content}}})
}
