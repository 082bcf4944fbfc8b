package storage

import (
	"context"
	"fmt"
	"sync"
)

// idBlock is the INCREMENT of the sequence nids.
const idBlock = 1024

// idAllocator hands out numbers for rooms, events and snapshots from blocks that
// it draws from a sequence, so that rows can name one another before they are
// written, and several processes never hand out the same one.
type idAllocator struct {
	db   *DB
	mu   sync.Mutex
	next int64
	end  int64
}

func newIDAllocator(db *DB) *idAllocator { return &idAllocator{db: db} }

// NextNID returns a number that no room, event or snapshot has had.
func (db *DB) NextNID(ctx context.Context) (int64, error) { return db.NIDAbove(ctx, 0) }

// NIDAbove is NextNID for a number that is greater than one that was drawn before, whoever
// drew that.
func (db *DB) NIDAbove(ctx context.Context, floor int64) (int64, error) {
	a := db.ids
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.next == a.end || a.next <= floor {
		var start int64
		if err := db.scanRow(ctx, `SELECT nextval('nids')`, nil, &start); err != nil {
			return 0, fmt.Errorf("drawing a block of numbers: %w", err)
		}
		a.next, a.end = start, start+idBlock
	}
	n := a.next
	a.next++
	return n, nil
}
