package syncapi

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"hearth/storage"
)

// candidate is a room that may be in a list.
type candidate struct {
	membership storage.Membership
	// latest is the position by which it is ordered.
	latest  storage.Position
	outline *outline
	dm      bool
	tags    []string
	// listed is whether it is in a list, also outside of its window, or was named.
	listed bool
	// bare is that only a subscription shows the room: the user has left it.
	bare bool
	told *toldRoom
}

// wantedRoom is a room that the client is to know of.
type wantedRoom struct {
	candidate
	limit int
	rules *roomRules
	// lists are the names of those it is in, subscribed is whether it was named.
	lists      []string
	subscribed bool
}

// selection is the rooms that a request is about, as of a position.
type selection struct {
	position, devices storage.Position
	typing            int64
	candidates        []*candidate
	rooms             map[int64]*wantedRoom
	counts            map[string]int
	// hidden are rooms that are wanted, and aren't shown yet.
	hidden map[int64]bool
}

// hide has a room not be shown, nor anything of it.
func (s *selection) hide(room int64) {
	delete(s.rooms, room)
	s.hidden[room] = true
}

// choose finds the rooms that the lists and subscriptions are about.
func (q *slide) choose(ctx context.Context) (*selection, error) {
	for {
		s := &selection{rooms: map[int64]*wantedRoom{}, counts: map[string]int{}, hidden: map[int64]bool{}}
		missing := q.survey(s)
		if len(missing) > 0 {
			if err := q.api.loadOutlines(ctx, q.u, missing); err != nil {
				return nil, err
			}
			continue
		}
		for name, list := range q.params.lists {
			if err := q.chooseList(ctx, s, name, list); err != nil {
				return nil, err
			}
		}
		for _, c := range s.candidates {
			if config := q.params.subscriptions[c.membership.RoomID]; config != nil {
				s.add(c, config).subscribed = true
				c.listed = true
			}
		}
		for _, r := range s.rooms {
			slices.Sort(r.lists)
		}
		return s, nil
	}
}

// survey collects the user's rooms, and returns those of which too little is known. What
// comes of them is worked out without the hub's lock.
func (q *slide) survey(s *selection) (missing []int64) {
	h := q.api.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	s.position, s.typing, s.devices = h.position, h.typingSerial.Load(), h.devicesUpTo
	q.ignored = q.u.ignored
	if len(q.params.lists)+len(q.params.subscriptions) == 0 {
		return nil
	}
	s.candidates = make([]*candidate, 0, len(q.u.memberships))
	all := make([]candidate, 0, len(q.u.memberships))
	for nid, m := range q.u.memberships {
		all = append(all, candidate{membership: m, latest: m.Position, told: q.base.rooms[nid], dm: q.u.direct[m.RoomID], tags: q.u.roomData[m.RoomID].tags})
		c := &all[len(all)-1]
		if !q.mayShow(c) {
			continue
		}
		if m.Membership == "join" {
			r := h.rooms[nid]
			c.latest, c.outline = r.latest, r.outline
		} else {
			c.outline = q.u.outlines[nid]
		}
		if c.outline == nil || c.latest < 0 {
			missing = append(missing, nid)
			continue
		}
		s.candidates = append(s.candidates, c)
	}
	return missing
}

// mayShow reports whether the room is any of the user's business: they are in it, are
// asked to come or ask to, or were made to go. One that they left by themselves is
// mentioned once to who knew it, and otherwise shown when it is asked for by name. The
// hub's lock is held.
func (q *slide) mayShow(c *candidate) bool {
	m := &c.membership
	switch {
	case m.Forgotten:
		return false
	case m.Membership == "invite":
		return !q.u.unwanted(*m)
	case m.Membership == "leave" && m.Sender == m.UserID && (c.told == nil || c.told.upTo >= m.Position):
		c.bare = true
		return q.params.subscriptions[m.RoomID] != nil
	}
	return true
}

// add notes that a room is wanted, as a list or subscription has it.
func (s *selection) add(c *candidate, config *roomConfig) *wantedRoom {
	r := s.rooms[c.membership.RoomNID]
	if r == nil {
		r = &wantedRoom{candidate: *c}
		s.rooms[c.membership.RoomNID] = r
	}
	r.limit = max(r.limit, config.limit)
	r.rules = r.rules.union(config.state)
	return r
}

// chooseList finds which rooms are in a list, and which of them in its window.
func (q *slide) chooseList(ctx context.Context, s *selection, name string, list *slidingList) error {
	children, err := q.children(ctx, s, list.filters.Spaces)
	if err != nil {
		return err
	}
	var in []*candidate
	for _, c := range s.candidates {
		if !c.bare && list.filters.match(c) && (list.filters.Spaces == nil || children[c.membership.RoomID]) {
			in = append(in, c)
		}
	}
	s.counts[name] = len(in)
	for _, c := range in {
		c.listed = true
	}
	add := func(some []*candidate) {
		for _, c := range some {
			r := s.add(c, &list.roomConfig)
			if !slices.Contains(r.lists, name) {
				r.lists = append(r.lists, name)
			}
		}
	}
	if list.whole {
		add(in)
		return nil
	}
	if len(list.ranges) != 1 || list.ranges[0][0] > 0 || list.ranges[0][1] < len(in)-1 {
		slices.SortFunc(in, func(a, b *candidate) int {
			return cmp.Or(cmp.Compare(b.latest, a.latest), cmp.Compare(b.membership.RoomNID, a.membership.RoomNID))
		})
	}
	for _, r := range list.ranges {
		if r[0] < len(in) {
			add(in[r[0]:min(r[1]+1, len(in))])
		}
	}
	return nil
}

// match reports whether the filters let the room pass, apart from that on spaces.
func (f *slidingFilters) match(c *candidate) bool {
	is := func(wanted *bool, value bool) bool { return wanted == nil || *wanted == value }
	switch {
	case !is(f.IsDM, c.dm), !is(f.IsInvite, c.membership.Membership == "invite"):
		return false
	case f.IsEncrypted != nil && (!c.outline.known || *f.IsEncrypted != (c.outline.encryption != "")):
		return false
	case f.RoomTypes != nil && !hasType(f.RoomTypes, c.outline.roomType), hasType(f.NotRoomTypes, c.outline.roomType):
		return false
	case f.Tags != nil && !slices.ContainsFunc(c.tags, func(t string) bool { return slices.Contains(f.Tags, t) }),
		slices.ContainsFunc(c.tags, func(t string) bool { return slices.Contains(f.NotTags, t) }):
		return false
	}
	return f.NameLike == "" || strings.Contains(strings.ToLower(c.visibleName()), strings.ToLower(f.NameLike))
}

// visibleName is the room's name for who may know it as it is now.
func (c *candidate) visibleName() string {
	switch c.membership.Membership {
	case "join", "invite":
		return c.outline.name
	}
	return ""
}

// hasType looks for a type of room; null is for rooms without one.
func hasType(types []*string, roomType string) bool {
	return slices.ContainsFunc(types, func(t *string) bool {
		if t == nil {
			return roomType == ""
		}
		return *t == roomType
	})
}

// children are the rooms that are in any of the spaces which the user has joined.
func (q *slide) children(ctx context.Context, s *selection, spaces []string) (map[string]bool, error) {
	var joined []int64
	for _, c := range s.candidates {
		if c.membership.Membership == "join" && slices.Contains(spaces, c.membership.RoomID) {
			joined = append(joined, c.membership.RoomNID)
		}
	}
	if len(joined) == 0 {
		return nil, nil
	}
	found, err := q.api.db.SpaceChildren(ctx, joined)
	children := map[string]bool{}
	for _, ids := range found {
		for _, id := range ids {
			children[id] = true
		}
	}
	return children, err
}
