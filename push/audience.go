package push

import (
	"context"
	"slices"
	"sync"

	"hearth/storage"
)

// audience knows of some users, those with rules of their own or with pushers, in which
// rooms they are. An event finds those it concerns without a look at the room's members.
type audience[T any] struct {
	mu    sync.RWMutex
	users map[string]*listener[T]
	rooms map[int64][]*listener[T]
}

// listener is a user of an audience; of is what the audience is about.
type listener[T any] struct {
	id          string
	of          T
	memberships map[int64]stay
}

// stay is a user's newest membership of a room.
type stay struct {
	at     storage.Position
	joined bool
}

func newAudience[T any]() *audience[T] {
	return &audience[T]{users: map[string]*listener[T]{}, rooms: map[int64][]*listener[T]{}}
}

// add takes users in and reads in which rooms they are. From the beginning of the call
// on the stream's memberships must be given to set.
func (a *audience[T]) add(ctx context.Context, db *storage.DB, users ...string) error {
	a.mu.Lock()
	for _, id := range users {
		if a.users[id] == nil {
			a.users[id] = &listener[T]{id: id, memberships: map[int64]stay{}}
		}
	}
	a.mu.Unlock()
	if len(users) == 0 {
		return nil
	}
	memberships, err := db.JoinedRooms(ctx, users)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range memberships {
		a.set(m)
	}
	return nil
}

// set takes over a membership unless a newer one is known, and returns the listener whose
// it is, nil for others' memberships. The lock is held.
func (a *audience[T]) set(m storage.Membership) *listener[T] {
	l := a.users[m.UserID]
	if l == nil {
		return nil
	}
	old := l.memberships[m.RoomNID]
	if old.at > m.Position {
		return l
	}
	joined := m.Membership == "join"
	l.memberships[m.RoomNID] = stay{m.Position, joined}
	if joined && !old.joined {
		a.rooms[m.RoomNID] = append(a.rooms[m.RoomNID], l)
	} else if !joined && old.joined {
		a.leave(l, m.RoomNID)
	}
	return l
}

func (a *audience[T]) leave(l *listener[T], room int64) {
	a.rooms[room] = slices.DeleteFunc(a.rooms[room], func(x *listener[T]) bool { return x == l })
	if len(a.rooms[room]) == 0 {
		delete(a.rooms, room)
	}
}

// remove forgets a user. The lock is held.
func (a *audience[T]) remove(userID string) {
	l := a.users[userID]
	if l == nil {
		return
	}
	for room, s := range l.memberships {
		if s.joined {
			a.leave(l, room)
		}
	}
	delete(a.users, userID)
}
