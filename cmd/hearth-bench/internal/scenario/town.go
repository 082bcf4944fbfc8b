package scenario

import (
	"context"
	"fmt"

	"hearth/cmd/hearth-bench/internal/matrix"
)

// People in the mixed scenario are in roomsEach rooms, with about peopleEach in
// a room.
const (
	roomsEach  = 3
	peopleEach = 30
)

// town is who is in which rooms.
type town struct {
	rooms []*room
	owner []int   // of each room, a person
	homes [][]int // of each person, rooms
}

// town makes the rooms and lets everybody join theirs.
func (e *Env) town(ctx context.Context, people []matrix.Account) (*town, error) {
	t := &town{homes: make([][]int, len(people))}
	n := max(len(people)*roomsEach/peopleEach, roomsEach)
	t.rooms, t.owner = make([]*room, n), make([]int, n)
	members := make([][]matrix.Account, n)
	for i, a := range people {
		for k := range roomsEach {
			// Rooms far apart, so that neighbours in one room are strangers in the next.
			h := (i + k*(1+i/n)) % n
			if k > 0 && (h == t.homes[i][0] || h == t.homes[i][k-1]) {
				continue
			}
			if len(members[h]) == 0 {
				t.owner[h] = i
			}
			t.homes[i] = append(t.homes[i], h)
			members[h] = append(members[h], a)
		}
	}
	err := e.each(ctx, n, preparing, func(_ *matrix.Client, i int) error {
		r, err := e.room(ctx, fmt.Sprintf("town-%d-%d", len(people), i), people[t.owner[i]])
		t.rooms[i] = r
		return err
	})
	if err != nil {
		return nil, err
	}
	e.Log("  everybody joins their rooms")
	return t, e.each(ctx, n, preparing, func(_ *matrix.Client, i int) error { return e.fill(ctx, t.rooms[i], members[i]) })
}
