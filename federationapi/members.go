package federationapi

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

const (
	// maxMemberAsks bounds the rooms whose members are being asked for at the same time,
	// maxMemberServers the servers that are asked in one round.
	maxMemberAsks    = 4
	maxMemberServers = 12
	// memberPause is how long a round without success is followed by none, at first and at
	// most, and memberPatience after which time a room is given up.
	memberPause, maxMemberPause = time.Second, 10 * time.Minute
	memberPatience              = 24 * time.Hour
)

// memberFetcher asks for the members of rooms that were joined without them, in the background.
// What is to be done stands in the database.
type memberFetcher struct {
	a               *API
	pause, patience time.Duration

	mu    sync.Mutex
	rooms map[string]*memberless
	// first has the rooms whose members weren't asked for yet, again those for which nobody
	// had them: these don't take the others' workers.
	first, again pool[*memberless]
}

// memberless is a room whose members are to be had.
type memberless struct {
	id    string
	pause time.Duration
}

func newMemberFetcher(a *API) *memberFetcher {
	m := &memberFetcher{a: a, pause: memberPause, patience: memberPatience, rooms: map[string]*memberless{}}
	m.first.workers, m.again.workers = maxMemberAsks/2, maxMemberAsks/2
	return m
}

// resume goes on with the rooms that were left without members when the program ended.
func (m *memberFetcher) resume(ctx context.Context) error {
	rooms, err := m.a.db.PartialRooms(ctx)
	for _, roomID := range rooms {
		m.ask(roomID)
	}
	return err
}

// ask has a room's members asked for, unless they are already.
func (m *memberFetcher) ask(roomID string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rooms[roomID] == nil {
		m.rooms[roomID] = &memberless{id: roomID, pause: m.pause}
		m.enter(&m.first, m.rooms[roomID])
	}
}

// enter has a room wait for a worker. The lock is held.
func (m *memberFetcher) enter(p *pool[*memberless], room *memberless) {
	p.enter(room, func() bool { return m.a.sender.goUnlessStopped(func() { m.work(p) }) })
}

// work asks for the members of the rooms that wait, one after the other, until there are no
// more.
func (m *memberFetcher) work(p *pool[*memberless]) {
	ctx := m.a.sender.ctx
	for {
		m.mu.Lock()
		room, more := p.next(ctx.Err() != nil)
		m.mu.Unlock()
		if !more {
			return
		}
		m.attend(ctx, room)
	}
}

// attend asks for a room's members once. If nobody has them, that is done again after a
// pause, until nobody needs them any more or there is no hope.
func (m *memberFetcher) attend(ctx context.Context, room *memberless) {
	done, err := m.round(ctx, room.id)
	if ctx.Err() != nil || done && m.finished(ctx, room.id) {
		return
	}
	if done && err == nil { // and joined anew since
		room.pause = m.pause
	}
	pause := room.pause
	room.pause = min(2*pause, maxMemberPause)
	if err != nil {
		m.a.log.Warn("the members of a room can't be had yet", "room", room.id, "again_in", pause, "err", err)
	}
	time.AfterFunc(pause, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.enter(&m.again, room)
	})
}

// finished forgets a room, unless it was joined anew meanwhile.
func (m *memberFetcher) finished(ctx context.Context, roomID string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := m.a.rooms.View(ctx, roomID)
	if err == nil && m.a.rooms.LacksMembers(v) {
		return false
	}
	delete(m.rooms, roomID)
	return true
}

// round asks the servers in a room, one after the other. It is done when there is nothing
// left to ask for.
func (m *memberFetcher) round(ctx context.Context, roomID string) (done bool, err error) {
	v, err := m.a.rooms.View(ctx, roomID)
	if err != nil {
		return errors.Is(err, roomserver.ErrUnknownRoom), err
	}
	if !m.a.rooms.LacksMembers(v) {
		return true, nil
	}
	join, err := m.a.rooms.EventByID(ctx, roomID, v.Room.Partial.JoinID)
	if err != nil {
		return false, fmt.Errorf("reading the event by which a room was joined: %w", err)
	}
	for _, server := range m.candidates(v) {
		asked := m.a.completeFrom(ctx, server, v, join)
		if asked == nil {
			return true, nil
		}
		err = errors.Join(err, asked)
		if ctx.Err() != nil {
			return false, ctx.Err()
		}
		if now, viewErr := m.a.rooms.View(ctx, roomID); viewErr == nil && !m.a.rooms.LacksMembers(now) {
			return true, nil // everybody has left meanwhile
		}
	}
	if time.Since(time.UnixMilli(v.Room.Partial.StartedAt)) > m.patience {
		m.a.log.Error("the members of a room can't be had: its users leave it", "room", roomID, "err", err)
		return true, m.giveUp(ctx, v)
	}
	return false, err
}

// candidates are the servers to ask: the one that let this server in, and then those with
// most members.
func (m *memberFetcher) candidates(v *roomserver.View) []string {
	list := []string{v.Room.Partial.Via}
	for _, server := range m.a.biggestServers(v) {
		if server != v.Room.Partial.Via && m.a.mayBeSent(server) && len(list) < maxMemberServers {
			list = append(list, server)
		}
	}
	return list
}

// completeFrom asks one server for the state before the join, and gives it to the room.
func (a *API) completeFrom(ctx context.Context, server string, v *roomserver.View, join *storage.Event) error {
	told, err := a.fetchStatesFor(ctx, server, v, join.ID, roomserver.References(join, "prev_events"))
	if err != nil {
		return fmt.Errorf("asking %s: %w", server, err)
	}
	for _, t := range told {
		// Of some events the signatures may be beyond verifying, but not of many.
		unknown, err := a.rooms.UnknownEvents(ctx, v, t.State)
		if err != nil {
			return err
		}
		if len(unknown) > len(t.State)/10 {
			return badAnswer(server, "%d of the %d events of the state can't be had", len(unknown), len(t.State))
		}
	}
	began := time.Now()
	if err := a.rooms.Complete(ctx, v.Room.ID, join.ID, told); err != nil {
		return fmt.Errorf("taking over what %s tells: %w", server, err)
	}
	a.sender.introduceLater(v.Room.ID)
	a.log.Info("a room has got its members", "room", v.Room.ID, "server", server, "took_over_in", time.Since(began).Round(time.Millisecond))
	return nil
}

// giveUp has this server's users leave a room whose members nobody tells.
func (m *memberFetcher) giveUp(ctx context.Context, v *roomserver.View) error {
	for _, userID := range v.JoinedOf(m.a.serverName) {
		_, err := m.a.rooms.SetMembership(ctx, roomserver.MembershipRequest{RoomID: v.Room.ID, Sender: userID, Target: userID, Membership: "leave",
			Reason: "None of the servers in the room tells who is in it"})
		if err != nil && httpapi.CodeOf(err) != "M_FORBIDDEN" {
			return err
		}
	}
	return nil
}
