package mediaapi

import (
	"context"
	"time"

	"hearth/storage"
)

// Policy says how long media are kept that nobody asks for; 0 is for ever.
type Policy struct{ Local, Remote time.Duration }

// Bounds are the media that go by the policy: not what is protected, quarantined, or the
// picture of a user or a room.
func (p Policy) Bounds() []*storage.MediaBounds {
	var all []*storage.MediaBounds
	if p.Local > 0 {
		all = append(all, &storage.MediaBounds{UnusedFor: p.Local, KeepPictures: true})
	}
	if p.Remote > 0 {
		all = append(all, &storage.MediaBounds{Remote: true, UnusedFor: p.Remote})
	}
	return all
}

// retain deletes what goes by the policy.
func (a *API) retain(ctx context.Context) error {
	if len(a.o.Retention.Bounds()) == 0 {
		return nil
	}
	// What is used now must be known, and which pictures rooms have.
	if err := a.accesses.flush(ctx, a.db); err != nil {
		return err
	}
	if err := FollowMentions(ctx, a.db); err != nil {
		return err
	}
	for _, b := range a.o.Retention.Bounds() {
		if _, err := Delete(ctx, a.db, b, nil); err != nil {
			return err
		}
	}
	return nil
}

// Delete deletes the media that the bounds mean, calls each, unless nil, with some of them,
// and returns how many there were. Their files are deleted later by the server.
func Delete(ctx context.Context, db *storage.DB, b *storage.MediaBounds, each func([]storage.MediaPlace)) (total int64, err error) {
	rest := *b
	for {
		gone, more, err := db.DeleteMedia(ctx, &rest)
		if err != nil {
			return total, err
		}
		total += int64(len(gone))
		if each != nil {
			each(gone)
		}
		if !more {
			return total, nil
		}
		rest.After = gone[len(gone)-1] // what is kept isn't looked at again
	}
}
