package federationapi

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
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

// memberFetcher asks for the members of rooms that were joined without them, in the background,
// one goroutine for each room. What is to be done stands in the database.
type memberFetcher struct {
	a *API
	// turn holds one for each room that is being worked on.
	turn            chan struct{}
	pause, patience time.Duration

	mu    sync.Mutex
	asked map[string]bool
}

func newMemberFetcher(a *API) *memberFetcher {
	return &memberFetcher{a: a, turn: make(chan struct{}, maxMemberAsks), pause: memberPause, patience: memberPatience, asked: map[string]bool{}}
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
	m.a.sender.mu.Lock()
	defer m.a.sender.mu.Unlock()
	if m.a.sender.stopped {
		return // the next run of the program goes on with it
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.asked[roomID] {
		return
	}
	m.asked[roomID] = true
	m.a.sender.all.Go(func() { m.work(m.a.sender.ctx, roomID) })
}

// work asks in rounds, until a room has its members, nobody needs them any more, or there
// is no hope.
func (m *memberFetcher) work(ctx context.Context, roomID string) {
	for pause := m.pause; ; pause = min(2*pause, maxMemberPause) {
		done, err := m.round(ctx, roomID)
		if err != nil && ctx.Err() == nil {
			m.a.log.Warn("the members of a room can't be had yet", "room", roomID, "again_in", pause, "err", err)
		}
		if done && m.finished(ctx, roomID) || ctx.Err() != nil || !m.a.sender.sleep(pause) {
			return
		}
	}
}

// finished forgets a room, unless it was joined anew meanwhile.
func (m *memberFetcher) finished(ctx context.Context, roomID string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, err := m.a.rooms.View(ctx, roomID)
	if err == nil && m.a.rooms.LacksMembers(v) {
		return false
	}
	delete(m.asked, roomID)
	return true
}

// round asks the servers in a room, one after the other. It is done when there is nothing
// left to ask for.
func (m *memberFetcher) round(ctx context.Context, roomID string) (done bool, err error) {
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return false, ctx.Err()
	}
	v, err := m.a.rooms.View(ctx, roomID)
	if err != nil {
		return false, err
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
	a.log.Info("a room has got its members", "room", v.Room.ID, "server", server, "took_over_in", time.Since(began).Round(time.Millisecond))
	return nil
}

// giveUp has this server's users leave a room whose members nobody tells.
func (m *memberFetcher) giveUp(ctx context.Context, v *roomserver.View) error {
	var users []string
	for it := v.State.Iterator(); !it.Done(); {
		t, e, _ := it.Next()
		if t.Type == "m.room.member" && e.Membership == "join" && userid.IsLocal(t.StateKey, m.a.serverName) {
			users = append(users, t.StateKey)
		}
	}
	for _, userID := range users {
		_, err := m.a.rooms.SetMembership(ctx, roomserver.MembershipRequest{RoomID: v.Room.ID, Sender: userID, Target: userID, Membership: "leave",
			Reason: "None of the servers in the room tells who is in it"})
		if err != nil && httpapi.CodeOf(err) != "M_FORBIDDEN" {
			return err
		}
	}
	return nil
}
