package scenario

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/matrix"
)

// Growth is what Populate adds to a server.
type Growth struct {
	Rooms   int // new rooms
	Members int // of each room, besides its owner
	Events  int // messages, spread evenly over the rooms
	Workers int // requests on their way at a time
}

// Validate refuses what makes no sense or no end.
func (g *Growth) Validate() error {
	if g.Rooms < 1 || g.Rooms > maxRooms {
		return fmt.Errorf("-rooms %d: from 1 to %d", g.Rooms, maxRooms)
	}
	if g.Members < 0 || g.Members > maxClients {
		return fmt.Errorf("-members %d: up to %d", g.Members, maxClients)
	}
	if g.Events < 0 || g.Events > maxEvents {
		return fmt.Errorf("-events %d: up to %d", g.Events, maxEvents)
	}
	if g.Workers < 1 || g.Workers > 1024 {
		return fmt.Errorf("-workers %d: from 1 to 1024", g.Workers)
	}
	return nil
}

// Populate makes a server big: it creates rooms, lets accounts join them, and
// writes messages.
func (e *Env) Populate(ctx context.Context, g Growth) error {
	owners, err := e.accounts(ctx, "settler", g.Workers)
	if err != nil {
		return err
	}
	members, err := e.accounts(ctx, "inhabitant", g.Members)
	if err != nil {
		return err
	}
	var made, joined, written atomic.Int64
	progress, done := context.WithCancel(ctx)
	defer done()
	go func() {
		for sleep(progress, 5*time.Second) == nil {
			e.Log("  %d rooms, %d joins, %d messages", made.Load(), joined.Load(), written.Load())
		}
	}()
	run := check.NewRun()
	err = e.each(ctx, g.Rooms, g.Workers, func(c *matrix.Client, i int) error {
		c.Account = owners[i%len(owners)]
		room, err := c.CreateRoom(fmt.Sprintf("Populated %d", i), e.RoomVersion)
		if err != nil {
			return err
		}
		made.Add(1)
		owner := c.Account
		for _, c.Account = range members {
			if err := c.Join(room); err != nil {
				return err
			}
			joined.Add(1)
		}
		c.Account = owner
		for seq := range g.Events/g.Rooms + min(1, max(0, g.Events%g.Rooms-i)) {
			if err := sendPatiently(c, room, check.Mark{Run: run, Sender: i, Seq: seq, Sent: check.Now()}); err != nil {
				return err
			}
			written.Add(1)
		}
		return nil
	})
	e.Log("made %d rooms, %d joins and %d messages", made.Load(), joined.Load(), written.Load())
	return err
}
