package clientapi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

// guestsPatience is after how long a room that guests couldn't leave is tried again.
const guestsPatience = time.Minute

// guests makes guests leave the rooms that stop admitting them.
//
// https://spec.matrix.org/v1.19/client-server-api/#guest-access
type guests struct {
	api    *API
	mu     sync.Mutex
	closed map[string]bool // rooms to look at
	wake   chan struct{}
	stop   context.CancelFunc
	done   chan struct{}
}

func newGuests(a *API) *guests {
	ctx, stop := context.WithCancel(context.Background())
	g := &guests{api: a, closed: map[string]bool{}, wake: make(chan struct{}, 1), stop: stop, done: make(chan struct{})}
	a.db.Stream.Follow(g.follow)
	go g.run(ctx)
	return g
}

func (g *guests) close() {
	g.stop()
	<-g.done
}

// follow notes rooms whose guest access has changed.
func (g *guests) follow(b *storage.Batch) {
	for _, c := range b.Changes {
		if c.Room == nil {
			continue
		}
		for _, s := range c.Room.State {
			if s.Type == "m.room.guest_access" && s.StateKey == "" && c.Room.ExpectedVersion != 0 {
				g.add(c.Room.Room.ID)
			}
		}
	}
}

func (g *guests) add(roomIDs ...string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range roomIDs {
		g.closed[id] = true
	}
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

func (g *guests) take() map[string]bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	taken := g.closed
	g.closed = map[string]bool{}
	return taken
}

// run begins with what a crash may have left undone.
func (g *guests) run(ctx context.Context) {
	defer close(g.done)
	rooms, err := g.api.db.RoomsOfGuests(ctx)
	if err != nil && ctx.Err() == nil {
		g.api.log.Error("looking for guests failed", "err", err)
	}
	g.add(rooms...)
	for {
		select {
		case <-ctx.Done():
			return
		case <-g.wake:
		}
		for roomID := range g.take() {
			if err := g.leave(ctx, roomID); err != nil && ctx.Err() == nil {
				g.api.log.Error("guests could not leave a room", "room", roomID, "err", err)
				time.AfterFunc(guestsPatience, func() { g.add(roomID) })
			}
		}
	}
}

// leave makes the room's guests leave, unless it admits them.
func (g *guests) leave(ctx context.Context, roomID string) error {
	v, err := g.api.rooms.View(ctx, roomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) || err == nil && v.Summary.GuestCanJoin {
		return nil
	}
	if err != nil {
		return err
	}
	list, err := g.api.db.GuestsIn(ctx, v.Room.NID)
	if err != nil {
		return err
	}
	for _, userID := range list {
		_, err := g.api.rooms.SetMembership(ctx, roomserver.MembershipRequest{RoomID: roomID, Sender: userID, Target: userID,
			Membership: "leave", Reason: "This room doesn't admit guests any more"})
		if err != nil && httpapi.CodeOf(err) != "M_FORBIDDEN" {
			return fmt.Errorf("leaving as the guest %s: %w", userID, err)
		}
	}
	return nil
}
