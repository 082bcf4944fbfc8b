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
	last := base
	for _, off := range p.offsets {
		last = max(last, base+off)
	}
	for _, t := range p.tickets {
		if c := t.change.Room; c != nil && c.Completed {
			c.Position = base + c.offset
			last = max(last, c.Position)
		}
	}
	for _, s := range p.stuck {
		s.event.StickyAt = base + s.offset
		last = max(last, s.event.StickyAt)
	}
	for _, t := range p.tickets {
		c := t.change
		draw(&last, c.Receipts, func(r *Receipt) *Position { return &r.Position })
		draw(&last, c.AccountData, func(d *AccountData) *Position { return &d.Position })
		draw(&last, c.Presence, func(p *Presence) *Position { return &p.Position })
		draw(&last, c.ToDevice, func(m *ToDevice) *Position { return &m.Position })
		draw(&last, c.RemoteToDevice, func(m *RemoteToDevice) *Position { return &m.Position })
		draw(&last, c.DeviceLists, func(l *DeviceListChange) *Position { return &l.Position })
		draw(&last, c.Handovers, func(h *Handover) *Position { return &h.Position })
		draw(&last, c.ThreadSubscriptions, func(s *ThreadSubscription) *Position { return &s.Position })
	}
	for _, r := range p.rooms {
		r.setPositions()
	}
}

// draw gives each of the rows the position after the last one that was given.
func draw[T any](last *Position, rows []T, position func(*T) *Position) {
	for i := range rows {
		*last++
		*position(&rows[i]) = *last
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
