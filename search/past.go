package search

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"hearth/storage"
)

// indexPast indexes what was fetched of rooms' pasts: it has places that the index has passed. Nobody says
// when there is something; to look costs a glance at a table that is mostly empty.
func (x *Index) indexPast(ctx context.Context) error {
	for {
		p, err := x.db.NextSearchPast(ctx, x.scanned)
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err == nil && p.Position > x.position {
			// A search asks the index only for what lies before where that ends.
			err = x.write(ctx, x.scanned)
		}
		if err == nil {
			err = x.indexPiece(ctx, p)
		}
		if err != nil {
			return fmt.Errorf("indexing what was fetched of a room's past: %w", err)
		}
	}
}

// indexPiece makes a block of the newest of a piece.
func (x *Index) indexPiece(ctx context.Context, p storage.SearchPast) error {
	events, err := x.db.SearchablePast(ctx, p, maxBlock)
	if err != nil {
		return err
	}
	downTo := p.First
	if len(events) == maxBlock {
		downTo = events[maxBlock-1].Sub
	}
	var taken []*storage.Event
	bytes := 0
	for _, e := range events {
		if e.Type == "m.room.redaction" {
			if err := x.forget(ctx, e); err != nil {
				return err
			}
			continue
		}
		if text, _ := textOf(e); text == "" {
			continue
		}
		taken = append(taken, e)
		if bytes += len(e.JSON); bytes >= maxBlockBytes {
			downTo = e.Sub
			break
		}
	}
	if len(taken) == 0 {
		return x.db.SaveSearchPast(ctx, p, downTo, nil)
	}
	b := &storage.SearchBlock{First: p.Position, Last: p.Position, LastSub: taken[0].Sub}
	slices.Reverse(taken)
	for _, e := range taken {
		b.EventNIDs, b.RoomNIDs = append(b.EventNIDs, e.NID), append(b.RoomNIDs, e.RoomNID)
	}
	b.Words = vector(taken)
	return x.db.SaveSearchPast(ctx, p, downTo, b)
}
