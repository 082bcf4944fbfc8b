package matrix

import (
	"fmt"
	"net/url"
	"strconv"
	"time"

	"hearth/cmd/hearth-bench/internal/wire"
)

// Timeline is one joined room of a sync answer.
type Timeline struct {
	Room    []byte
	Limited bool
	Prev    []byte // token from which /messages continues backwards
	Events  []Event
}

// Delta is a sync answer. What it holds is valid until the client's next
// request.
type Delta struct {
	Next  []byte
	Rooms []Timeline
	Bytes int // size of the answer
}

// LiveSync asks what is new since a token and waits up to wait for it, as a
// running app does. An empty token starts from now on.
func (c *Client) LiveSync(since string, wait time.Duration, d *Delta) error {
	c.path = append(c.path[:0], api+"/sync?set_presence=offline&filter="...)
	c.path = append(c.path, url.QueryEscape(c.Filter)...)
	return c.sync(since, wait, d)
}

// FirstSync is the sync of an app that has just logged in, with an inline filter.
func (c *Client) FirstSync(filter string, d *Delta) error {
	c.path = append(c.path[:0], api+"/sync?set_presence=offline&filter="...)
	c.path = append(c.path, url.QueryEscape(filter)...)
	return c.sync("", 0, d)
}

// sync is https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
func (c *Client) sync(since string, wait time.Duration, d *Delta) error {
	c.path = append(c.path, "&timeout="...)
	c.path = strconv.AppendInt(c.path, wait.Milliseconds(), 10)
	if since != "" {
		c.path = append(append(c.path, "&since="...), url.QueryEscape(since)...)
	}
	b, err := c.do(wire.Request{Method: "GET", Path: string(c.path), Timeout: wait + 2*time.Minute})
	if err != nil {
		return err
	}
	return d.scan(b)
}

func (d *Delta) scan(b []byte) error {
	d.Next, d.Bytes, d.Rooms = nil, len(b), d.Rooms[:0]
	s := wire.NewScanner(b)
	s.Object(func(key []byte) {
		switch string(key) {
		case "next_batch":
			d.Next = s.String()
		case "rooms":
			s.Object(func(key []byte) {
				if string(key) == "join" {
					s.Object(func(room []byte) { d.scanRoom(s, room) })
				} else {
					s.Skip()
				}
			})
		default:
			s.Skip()
		}
	})
	if s.Err() != nil {
		return fmt.Errorf("sync: %w", s.Err())
	}
	if len(d.Next) == 0 {
		return fmt.Errorf("sync: no next_batch in %.100q", b)
	}
	return nil
}

func (d *Delta) scanRoom(s *wire.Scanner, room []byte) {
	n := len(d.Rooms)
	if n < cap(d.Rooms) {
		d.Rooms = d.Rooms[:n+1] // keeps the room for events
	} else {
		d.Rooms = append(d.Rooms, Timeline{})
	}
	t := &d.Rooms[n]
	*t = Timeline{Room: room, Events: t.Events[:0]}
	s.Object(func(key []byte) {
		if string(key) != "timeline" {
			s.Skip()
			return
		}
		s.Object(func(key []byte) {
			switch string(key) {
			case "limited":
				t.Limited = s.Bool()
			case "prev_batch":
				t.Prev = s.String()
			case "events":
				t.Events = scanEvents(s, t.Events)
			default:
				s.Skip()
			}
		})
	})
}
