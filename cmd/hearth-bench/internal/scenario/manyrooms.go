package scenario

import (
	"context"
	"fmt"
	"slices"

	"hearth/cmd/hearth-bench/internal/matrix"
)

// inRooms returns a user who is in the first n of the prepared rooms, each with
// messages in it.
func (e *Env) inRooms(ctx context.Context, n int) (matrix.Account, []*room, error) {
	owners, err := e.accounts(ctx, "owner", preparing)
	if err != nil {
		return matrix.Account{}, nil, err
	}
	user, err := e.accounts(ctx, fmt.Sprintf("in-%d-rooms", n), 1)
	if err != nil {
		return matrix.Account{}, nil, err
	}
	if e.state.room(fmt.Sprintf("chat-%d", n-1)) == nil {
		e.Log("  making %d rooms of %d messages", n, e.RoomMessages)
	}
	rooms := make([]*room, n)
	err = e.each(ctx, n, preparing, func(c *matrix.Client, i int) error {
		name := fmt.Sprintf("chat-%d", i)
		c.Account = owners[i%len(owners)]
		r, err := e.room(ctx, name, c.Account)
		if err != nil {
			return err
		}
		rooms[i] = r
		return e.write(c, name, r, e.RoomMessages)
	})
	if err != nil {
		return user[0], nil, err
	}
	c := e.client(ctx, user[0])
	defer c.Close()
	joined, err := c.JoinedRooms()
	if err != nil {
		return user[0], nil, err
	}
	err = e.each(ctx, n, 4, func(c *matrix.Client, i int) error {
		c.Account = user[0]
		if slices.Contains(joined, rooms[i].ID) {
			return nil
		}
		return c.Join(rooms[i].ID)
	})
	return user[0], rooms, err
}
