package roomserver

import (
	"sync"
	"testing"
)

// TestRoomsAtTheSameMoment: rooms that one user makes alike at the same moment are
// rooms of their own, although their ids are hashes of what they begin with.
func TestRoomsAtTheSameMoment(t *testing.T) {
	s := open(t, dsn(t))
	const rooms = 100
	ids := make(chan string, rooms)
	var making sync.WaitGroup
	for range rooms {
		making.Go(func() {
			id, err := s.NewRoom(t.Context(), NewRoomRequest{Creator: alice, Version: "12", Events: []InitialEvent{
				{"m.room.member", new(alice), map[string]any{"membership": "join"}},
			}})
			if err != nil {
				t.Error(err)
			}
			ids <- id
		})
	}
	making.Wait()
	close(ids)
	seen := map[string]bool{}
	for id := range ids {
		if seen[id] {
			t.Errorf("two rooms are %s", id)
		}
		seen[id] = true
	}
}
