package storage

// plan is a batch taken apart by table, with the positions each row will have
// relative to the base that the database draws.
type plan struct {
	tickets   []*Ticket
	rooms     []*roomPlan
	byRoom    map[int64]*roomPlan
	events    []*Event
	placed    []*Event        // stored already, as outliers
	offsets   map[int64]int64 // event NID → offset; 0 for outliers
	stuck     []stuckPlan
	positions int64
	base      Position
	hasState  bool // anything beyond events and room rows
}

// stuckPlan is a sticky event of the past and the offset of its StickyAt.
type stuckPlan struct {
	event  *Event
	offset int64
}

// roomPlan is what happens to one room's row over the whole batch.
type roomPlan struct {
	nid      int64
	expected int64
	create   bool
	last     *Room // after the last change
	lastPos  int64 // offset of the last event with a place, 0 for none
	tickets  []*Ticket
	failed   bool
}

func newPlan(batch []*Ticket) *plan {
	p := &plan{tickets: batch, byRoom: map[int64]*roomPlan{}, offsets: map[int64]int64{}}
	for _, t := range batch {
		if t.change.Room != nil {
			p.addRoom(t)
		}
	}
	for _, t := range batch {
		c := t.change
		n := c.userRows()
		p.positions += int64(n)
		p.hasState = p.hasState || n > 0
	}
	return p
}

func (p *plan) addRoom(t *Ticket) {
	c := t.change.Room
	r := p.byRoom[c.Room.NID]
	if r == nil {
		r = &roomPlan{nid: c.Room.NID, expected: c.ExpectedVersion, create: c.ExpectedVersion == 0}
		p.byRoom[r.nid] = r
		p.rooms = append(p.rooms, r)
	}
	r.last = &c.Room
	r.tickets = append(r.tickets, t)
	for _, e := range c.Events {
		if c.Placed[e.NID] {
			p.placed = append(p.placed, e)
		} else {
			p.events = append(p.events, e)
		}
		if e.Flags&Outlier != 0 {
			p.offsets[e.NID] = 0
			continue
		}
		p.positions++
		p.offsets[e.NID] = p.positions
		r.lastPos = p.positions
	}
	for _, e := range c.Stuck {
		p.positions++
		p.stuck = append(p.stuck, stuckPlan{e, p.positions})
	}
	if c.Completed {
		p.positions++
		c.offset, r.lastPos = p.positions, p.positions
	}
	p.hasState = p.hasState || r.create || c.PartialChanged || len(c.Stuck)+len(c.Snapshots)+len(c.State)+len(c.Memberships)+
		len(c.Redactions)+len(c.PendingRedactions)+len(c.Placed)+len(c.Gaps)+len(c.Highlights)+len(c.Exceptions)+len(c.Aliases)+len(c.InviteStates) > 0 || c.Summary != nil || c.Publish || c.SuccessorNID != 0
}

// onlyMessages reports whether one statement does it all.
func (p *plan) onlyMessages() bool { return len(p.rooms) > 0 && !p.hasState }

// completed is a change that makes all members of a room known, nil for none.
func (p *plan) completed() *RoomChange {
	for _, t := range p.tickets {
		if c := t.change.Room; c != nil && c.Completed {
			return c
		}
	}
	return nil
}

// setBase gives every row its position, in the order of the tickets: events of
// the whole batch first, then what users did.
func (p *plan) setBase(base Position) {
	p.base = base
	for _, list := range [][]*Event{p.events, p.placed} {
		for _, e := range list {
			if off := p.offsets[e.NID]; off != 0 {
				e.Position = base + off
			}
		}
	}
	next := base
	for _, off := range p.offsets {
		next = max(next, base+off)
	}
	for _, t := range p.tickets {
		if c := t.change.Room; c != nil && c.Completed {
			c.Position = base + c.offset
			next = max(next, c.Position)
		}
	}
	for _, s := range p.stuck {
		s.event.StickyAt = base + s.offset
		next = max(next, s.event.StickyAt)
	}
	for _, t := range p.tickets {
		c := t.change
		for i := range c.Receipts {
			next++
			c.Receipts[i].Position = next
		}
		for i := range c.AccountData {
			next++
			c.AccountData[i].Position = next
		}
		for i := range c.Presence {
			next++
			c.Presence[i].Position = next
		}
		for i := range c.ToDevice {
			next++
			c.ToDevice[i].Position = next
		}
		for i := range c.RemoteToDevice {
			next++
			c.RemoteToDevice[i].Position = next
		}
		for i := range c.DeviceLists {
			next++
			c.DeviceLists[i].Position = next
		}
		for i := range c.Handovers {
			next++
			c.Handovers[i].Position = next
		}
		for i := range c.ThreadSubscriptions {
			next++
			c.ThreadSubscriptions[i].Position = next
		}
	}
	for _, r := range p.rooms {
		r.setPositions()
	}
}

func (r *roomPlan) setPositions() {
	var latest Position
	for _, t := range r.tickets {
		c := t.change.Room
		for _, e := range c.Events {
			latest = max(latest, e.Position)
		}
		latest = max(latest, c.Position)
		if latest != 0 {
			c.Room.LatestPosition = latest
		}
		for i := range c.Memberships {
			c.Memberships[i].Position = positionOf(c, c.Memberships[i].EventNID)
		}
		if c.PartialChanged {
			c.Room.Partial.setPosition(c)
		}
	}
}

// positionOf is the position of the change's event with the given number, or the last one
// when state resolution brought an older one back.
func positionOf(c *RoomChange, nid int64) Position {
	last := c.Position
	for _, e := range c.Events {
		if e.NID == nid && e.Position != 0 {
			return e.Position
		}
		last = max(last, e.Position)
	}
	return last
}
