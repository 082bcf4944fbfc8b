package scenario

import (
	"fmt"
	"time"
)

// Options is how much load the scenarios make.
type Options struct {
	SharedSecret string // registers through Synapse's shared-secret endpoint

	RoomVersion string // of new rooms; empty: the server's default

	Duration time.Duration // of each measurement
	Warmup   time.Duration // before it, not measured
	Settle   time.Duration // how long a server gets to come to rest before its memory is read

	Senders      []int   // send: senders in rooms of their own
	OneRoom      []int   // send: senders in one room
	Clients      []int   // fanout: clients waiting, at FanoutRate
	FanoutRate   float64 // messages per second
	FullSpeed    []int   // fanout: clients waiting, the sender at full speed
	Idle         []int   // idle: connections
	Poll         time.Duration
	Rooms        []int // sync-first: rooms of the user; sync-empty takes the first
	RoomMessages int   // messages in each
	History      int   // messages: events
	Members      int   // bigroom
	Creators     int   // createroom: at a time
	People       int   // mixed
	Rate         float64
	MediaSizes   []int   // media: of the files, in KiB
	MediaClients int     // media: at a time
	Overload     float64 // multiple of the measured capacity
	Connections  int     // overload: senders
}

// Defaults are the sizes that the project's own figures are stated for.
func Defaults() Options {
	return Options{
		Duration: 10 * time.Second, Warmup: time.Second, Settle: 3 * time.Second,
		Senders: []int{1, 8, 32}, OneRoom: []int{32},
		Clients: []int{100, 500, 1000}, FanoutRate: 10, FullSpeed: []int{500},
		Idle: []int{2000, 5000}, Poll: 30 * time.Second,
		Rooms: []int{100, 500}, RoomMessages: 50, History: 20_000, Members: 2000,
		Creators: 8, People: 1000, Rate: 100, Overload: 2, Connections: 1024,
		MediaSizes: []int{100, 100 << 10}, MediaClients: 8,
	}
}

// Bounds of what the tool does, so that a slip of the keyboard ends by itself.
const (
	maxClients  = 10_000
	maxEvents   = 5_000_000
	maxRooms    = 100_000
	maxRate     = 10_000
	maxDuration = 2 * time.Hour
)

// Validate refuses sizes that make no sense or no end.
func (o *Options) Validate() error {
	for _, c := range []struct {
		name string
		n    []int
		max  int
	}{
		{"senders", o.Senders, 1024}, {"one-room", o.OneRoom, 1024}, {"clients", o.Clients, maxClients},
		{"full-speed", o.FullSpeed, maxClients}, {"idle", o.Idle, maxClients}, {"rooms", o.Rooms, maxRooms},
		{"room-messages", []int{o.RoomMessages}, maxEvents}, {"history", []int{o.History}, maxEvents},
		{"members", []int{o.Members}, maxClients}, {"creators", []int{o.Creators}, 256},
		{"people", []int{o.People}, maxClients}, {"connections", []int{o.Connections}, maxClients},
		{"media-sizes", o.MediaSizes, maxMediaBytes >> 10}, {"media-clients", []int{o.MediaClients}, 256},
	} {
		for _, n := range c.n {
			if n < 1 || n > c.max {
				return fmt.Errorf("-%s %d: from 1 to %d", c.name, n, c.max)
			}
		}
	}
	for name, rate := range map[string]float64{"fanout-rate": o.FanoutRate, "rate": o.Rate} {
		if rate <= 0 || rate > maxRate {
			return fmt.Errorf("-%s %g: above 0, up to %d", name, rate, maxRate)
		}
	}
	if o.Overload < 1 || o.Overload > 20 {
		return fmt.Errorf("-overload %g: from 1 to 20", o.Overload)
	}
	if o.Duration < 100*time.Millisecond || o.Duration > maxDuration || o.Warmup < 0 || o.Warmup > maxDuration || o.Settle < 0 || o.Settle > maxDuration {
		return fmt.Errorf("-duration %v -warmup %v -settle %v: up to %v", o.Duration, o.Warmup, o.Settle, maxDuration)
	}
	if o.Poll < time.Second || o.Poll > 5*time.Minute {
		return fmt.Errorf("-poll %v: from 1s to 5m", o.Poll)
	}
	return nil
}
