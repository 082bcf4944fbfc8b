// Package search finds what was said. An index of it follows the stream from behind, so
// that sending costs nothing; what isn't in the index yet is looked through.
package search

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/tidwall/gjson"

	"hearth/roomserver"
	"hearth/storage"
)

const (
	// maxBlock bounds the messages of a block: a tsvector keeps 255 positions of a word.
	// maxBlockBytes bounds their JSON, so that their words fit into a tsvector.
	maxBlock      = 240
	maxBlockBytes = 192 << 10
	// maxBehind bounds the positions without a full block's worth of messages after
	// which a block is written all the same.
	maxBehind = 20_000
	// scan is how many events are read at once.
	scan = 1000
	// indexEvery is how long the index waits after something happened, for more.
	indexEvery = 2 * time.Second
	// pastEvery is how often is looked for what was fetched of rooms' pasts.
	pastEvery = 10 * time.Second
)

// Options of New. DB and Rooms are required.
type Options struct {
	DB     *storage.DB
	Rooms  *roomserver.Server
	Logger *slog.Logger
}

// Index finds messages. All methods are safe for concurrent use.
type Index struct {
	db    *storage.DB
	rooms *roomserver.Server
	log   *slog.Logger
	wake  chan struct{}
	stop  context.CancelFunc
	done  chan struct{}
	// Of the goroutine that indexes: how far the index goes, how far was looked, and
	// the messages in between.
	position, scanned storage.Position
	waiting           []*storage.Event
	bytes             int
}

// New starts indexing what isn't yet.
func New(ctx context.Context, o Options) (*Index, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	x := &Index{db: o.DB, rooms: o.Rooms, log: o.Logger, wake: make(chan struct{}, 1), done: make(chan struct{})}
	if err := x.begin(ctx); err != nil {
		return nil, err
	}
	ctx, x.stop = context.WithCancel(context.WithoutCancel(ctx))
	o.DB.Stream.Follow(x.follow)
	go x.run(ctx)
	return x, nil
}

// Stop ends the indexing, which goes on from where it was when it is started again.
func (x *Index) Stop() {
	x.stop()
	<-x.done
}

// follow notes that there may be something to index.
func (x *Index) follow(b *storage.Batch) {
	for _, c := range b.Changes {
		if c.Room != nil {
			select {
			case x.wake <- struct{}{}:
			default:
			}
			return
		}
	}
}

// begin starts from what is in the database.
func (x *Index) begin(ctx context.Context) (err error) {
	x.position, err = x.db.SearchProgress(ctx)
	x.scanned, x.waiting, x.bytes = x.position, nil, 0
	return err
}

func (x *Index) run(ctx context.Context) {
	defer close(x.done)
	for {
		err := x.catchUp(ctx)
		if err == nil {
			err = x.indexPast(ctx)
		}
		if err != nil && ctx.Err() == nil {
			x.log.Error("indexing for the search failed; trying again", "err", err)
			if err := x.begin(ctx); err != nil {
				x.log.Error("reading the search index failed", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(indexEvery):
		}
		select {
		case <-ctx.Done():
			return
		case <-x.wake:
		case <-time.After(pastEvery):
		}
	}
}

// catchUp indexes everything that was committed before it was called.
func (x *Index) catchUp(ctx context.Context) error {
	head := x.db.Stream.Position()
	for x.scanned < head {
		events, err := x.db.SearchableAfter(ctx, x.scanned, head, scan)
		if err != nil {
			return err
		}
		for _, e := range events {
			if err := x.take(ctx, e); err != nil {
				return err
			}
		}
		x.scanned = head
		if len(events) == scan {
			x.scanned = events[scan-1].Position
		}
		if x.scanned-x.position > maxBehind {
			if err := x.write(ctx, x.scanned); err != nil {
				return err
			}
		}
	}
	return nil
}

// take puts an event into the block that is being filled, or takes one that it has
// redacted out of the index.
func (x *Index) take(ctx context.Context, e *storage.Event) error {
	if e.Type == "m.room.redaction" {
		return x.forget(ctx, e)
	}
	if text, _ := textOf(e); text == "" {
		return nil
	}
	x.waiting = append(x.waiting, e)
	x.bytes += len(e.JSON)
	if len(x.waiting) < maxBlock && x.bytes < maxBlockBytes {
		return nil
	}
	return x.write(ctx, e.Position)
}

// write writes the block, up to a position.
func (x *Index) write(ctx context.Context, upTo storage.Position) error {
	block, err := x.block(ctx)
	if err != nil {
		return err
	}
	err = x.db.SaveSearchBlock(ctx, x.position, upTo, block)
	if errors.Is(err, storage.ErrOvertaken) {
		err = fmt.Errorf("another process indexes as well: %w", err)
	}
	if err != nil {
		return err
	}
	x.position, x.waiting, x.bytes = upTo, nil, 0
	return nil
}

// block is what waits, as it is by now: some of it may have been redacted since.
func (x *Index) block(ctx context.Context) (*storage.SearchBlock, error) {
	if len(x.waiting) == 0 {
		return nil, nil
	}
	b := &storage.SearchBlock{First: x.waiting[0].Position, Last: x.waiting[len(x.waiting)-1].Position}
	for _, e := range x.waiting {
		b.EventNIDs, b.RoomNIDs = append(b.EventNIDs, e.NID), append(b.RoomNIDs, e.RoomNID)
	}
	events, err := x.inOrder(ctx, b.EventNIDs)
	b.Words = vector(events)
	return b, err
}

// inOrder reads events from the database.
func (x *Index) inOrder(ctx context.Context, nids []int64) ([]*storage.Event, error) {
	list, err := x.db.EventsByNID(ctx, nids)
	if err != nil {
		return nil, err
	}
	byNID := make(map[int64]*storage.Event, len(list))
	for _, e := range list {
		byNID[e.NID] = e
	}
	events := make([]*storage.Event, len(nids))
	for i, nid := range nids {
		if events[i] = byNID[nid]; events[i] == nil {
			events[i] = &storage.Event{} // deleted since
		}
	}
	return events, nil
}

// forget writes the block anew that has a redacted event, so that its words are gone
// from the index as well.
func (x *Index) forget(ctx context.Context, redaction *storage.Event) error {
	id := gjson.GetBytes(redaction.JSON, "redacts").Str
	if id == "" {
		id = gjson.GetBytes(redaction.JSON, "content.redacts").Str
	}
	list, err := x.db.EventsByID(ctx, []string{id})
	if err != nil || len(list) == 0 || list[0].RedactedBy == "" || list[0].Position > x.position && list[0].Sub == 0 {
		return err
	}
	block, err := x.db.SearchBlockOf(ctx, list[0].NID, list[0].Place)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	events, err := x.inOrder(ctx, block.EventNIDs)
	if err != nil {
		return err
	}
	return x.db.ReplaceSearchWords(ctx, block.NID, vector(events))
}
