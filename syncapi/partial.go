package syncapi

import (
	"context"

	"hearth/roomserver"
	"hearth/storage"
)

// A room that was joined without its members is shown at once to clients that load members
// lazily. To others it is new when all of them are known.

// awaitsMembers reports whether the client isn't shown the room yet.
func (q *request) awaitsMembers(v *roomserver.View) bool {
	return v.Room.IsPartial() && !q.filter.Room.State.LazyLoadMembers
}

// gotMembers reports whether the room's members have become known since the token.
func (s *roomShot) gotMembers() bool { return s.view.Room.BecameWhole() > s.since }

// isNew reports whether the room is new to the client, as far as its members go.
func (q *request) isNew(s *roomShot) bool {
	return s.gotMembers() && !q.filter.Room.State.LazyLoadMembers
}

// judgedAnew adds what has changed of the room's state since the token: what was thought of
// it before the members were known may have been wrong. Members are left to lazy loading.
func (q *request) judgedAnew(ctx context.Context, s *roomShot, wanted map[storage.StateTuple]int64) error {
	changed, err := q.api.changedState(ctx, map[*room]storage.Position{s.room: s.since})
	for _, t := range changed[s.room.nid] {
		if e, ok := s.view.State.Get(t); ok && t.Type != "m.room.member" {
			wanted[t] = e.EventNID
		}
	}
	return err
}

// findPresumed has those told of changed devices who may share a room with the one whose they
// are, where it isn't known who is in it. The hub's lock is held for writing.
func (h *hub) findPresumed(newest map[string]storage.Position) {
	for _, r := range h.rooms {
		if len(r.watchers) == 0 || r.view == nil || !r.view.Room.IsPartial() {
			continue
		}
		for id, p := range newest {
			if !h.o.Rooms.MayBeIn(r.view, id) {
				continue
			}
			for w := range r.watchers {
				h.devicesConcern(w, p)
			}
		}
	}
}
