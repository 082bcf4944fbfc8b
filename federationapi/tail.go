package federationapi

import (
	"context"
	"slices"
	"sort"
	"sync"
	"time"

	"hearth/storage"
)

const (
	// maxTail and maxTailBytes bound what is kept in memory of what is to be sent; whoever
	// is further behind reads the database.
	maxTail, maxTailBytes = 4096, 8 << 20
	// maxRead bounds what is read of a kind at a time from the database.
	maxRead = 500
	// maxCatchUp is how many events a server is sent at most after an outage. If there are
	// more it is sent the last ones of each room, and asks for those before.
	maxCatchUp = 5000
)

// tail is the newest part of what is to be sent, read once for all servers: everything
// after from.
type tail struct {
	mu    sync.Mutex
	list  []*outgoing
	from  storage.Position
	bytes int
}

func (o *outgoing) size() int {
	switch {
	case o.handover != nil:
		return 200 // what it is isn't read yet
	case o.event != nil:
		return len(o.event.JSON) + 200
	case o.toDevice != nil:
		return len(o.toDevice.Content) + 200
	}
	return 200
}

// add appends, and forgets the older half of what has become too much.
func (t *tail) add(list []*outgoing) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, o := range list {
		t.bytes += o.size()
	}
	t.list = append(t.list, list...)
	for len(t.list) > 0 && (len(t.list) > maxTail || t.bytes > maxTailBytes) {
		cut := (len(t.list) + 1) / 2
		for _, o := range t.list[:cut] {
			t.bytes -= o.size()
		}
		t.from = t.list[cut-1].at
		t.list = slices.Clone(t.list[cut:])
	}
}

// begins is the position after which everything is known.
func (t *tail) begins() storage.Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.from
}

// between returns what is after a position and up to another, and false if that is no
// longer known.
func (t *tail) between(after, upTo storage.Position) ([]*outgoing, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if after < t.from {
		return nil, false
	}
	first := sort.Search(len(t.list), func(i int) bool { return t.list[i].at > after })
	end := sort.Search(len(t.list), func(i int) bool { return t.list[i].at > upTo })
	return slices.Clone(t.list[first:max(first, end)]), true
}

// read reads from the database what is to be sent after a position and up to another:
// what it returns is complete up to reached. For one server, unless it is "", an outage
// that was long is made up for by the last events of each room.
func (s *sender) read(ctx context.Context, server string, after, upTo storage.Position) (list []*outgoing, reached storage.Position, err error) {
	db, own := s.a.db, s.a.serverName
	reached = upTo
	add := func(n int, make func(i int) *outgoing) {
		for i := range n {
			list = append(list, make(i))
		}
		if n == maxRead {
			reached = min(reached, list[len(list)-1].at)
		}
	}
	events, err := db.EventsBySendersOf(ctx, own, after, upTo, maxRead)
	if err == nil && server != "" && len(events) >= min(maxRead, s.catchUp) {
		var much bool
		if much, err = db.MoreEventsBySendersOf(ctx, own, after, upTo, s.catchUp); err == nil && much {
			events, err = db.LatestOfRooms(ctx, own, server, after, upTo, maxRead, time.Now())
		}
	}
	if err != nil {
		return nil, 0, err
	}
	add(len(events), func(i int) *outgoing { return &outgoing{at: events[i].Position, event: events[i]} })
	receipts, err := db.ReceiptsBySendersOf(ctx, own, after, upTo, maxRead)
	if err != nil {
		return nil, 0, err
	}
	add(len(receipts), func(i int) *outgoing { return &outgoing{at: receipts[i].Position, receipt: &receipts[i]} })
	if s.a.o.PresenceEnabled {
		presence, err := db.PresenceOf(ctx, own, after, upTo, maxRead)
		if err != nil {
			return nil, 0, err
		}
		add(len(presence), func(i int) *outgoing { return &outgoing{at: presence[i].Position, presence: &presence[i]} })
	}
	messages, err := db.ListRemoteToDevice(ctx, server, after, upTo, maxRead)
	if err != nil {
		return nil, 0, err
	}
	add(len(messages), func(i int) *outgoing { return &outgoing{at: messages[i].Position, toDevice: &messages[i]} })
	handovers, err := db.ListHandovers(ctx, server, after, upTo, maxRead)
	if err != nil {
		return nil, 0, err
	}
	add(len(handovers), func(i int) *outgoing { return outgoingHandover(handovers[i].Position, &handovers[i]) })
	devices, err := db.DeviceChanges(ctx, after, upTo, maxRead)
	if err != nil {
		return nil, 0, err
	}
	add(len(devices), func(i int) *outgoing {
		return &outgoing{at: devices[i].Position, device: &storage.DeviceListChange{
			Position: devices[i].Position, UserID: devices[i].UserID, DeviceID: devices[i].DeviceID, Announce: true}}
	})
	if server == "" { // who came is dispatch's concern
		came, err := db.MembershipsBetween(ctx, after, reached, maxRead)
		if err != nil {
			return nil, 0, err
		}
		add(len(came), func(i int) *outgoing { return &outgoing{at: came[i].Position, arrival: arrivalOf(came[i])} })
	}
	sortOutgoing(list)
	list = list[:sort.Search(len(list), func(i int) bool { return list[i].at > reached })]
	return list, reached, s.resolve(ctx, list)
}
