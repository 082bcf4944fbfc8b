package roomserver

import (
	"context"

	"github.com/maypok86/otter/v2"

	"hearth/internal/userid"
	"hearth/storage"
)

// serverCaches hold what is known of other servers' share in rooms. While a room's
// state stays the same, so do they.
type serverCaches struct {
	joined  *otter.Cache[stateKey, map[string]int]
	visible *otter.Cache[serverKey, *ServerVisibility]
	acls    *otter.Cache[int64, *serverACL]
}

// stateKey names a room's state at one moment. It counts otherwise while it lacks members.
type stateKey struct {
	room, snapshot int64
	partial        bool
}

type serverKey struct {
	stateKey
	server string
}

func newServerCaches() *serverCaches {
	return &serverCaches{
		joined:  otter.Must(&otter.Options[stateKey, map[string]int]{MaximumSize: 2_000}),
		visible: otter.Must(&otter.Options[serverKey, *ServerVisibility]{MaximumSize: 5_000}),
		acls:    otter.Must(&otter.Options[int64, *serverACL]{MaximumSize: 5_000}),
	}
}

// JoinedServers returns the servers in the room, with how many members each has, at least
// one for those of whom only that they are in it is known. The map is shared and must not
// be changed.
func (s *Server) JoinedServers(v *View) map[string]int {
	key := stateKey{v.Room.NID, v.Room.SnapshotNID, v.Room.IsPartial()}
	if found, ok := s.servers.joined.GetIfPresent(key); ok {
		return found
	}
	return s.countServers(key, v.State, v.Room.Partial)
}

// JoinedServersBefore returns the servers that were in the room before an event, with
// how many members each had. The map is shared and must not be changed.
func (s *Server) JoinedServersBefore(ctx context.Context, e *storage.Event) (map[string]int, error) {
	if e.Flags&storage.Presumed != 0 {
		return s.joinedServersBefore(ctx, e)
	}
	key := stateKey{e.RoomNID, e.SnapshotNID, false}
	if found, ok := s.servers.joined.GetIfPresent(key); ok {
		return found, nil
	}
	state, err := s.db.StateAt(ctx, e.SnapshotNID)
	if err != nil {
		return nil, err
	}
	return s.countServers(key, state, nil), nil
}

// joinedServersBefore is JoinedServersBefore for an event that was judged while not all
// members were known.
func (s *Server) joinedServersBefore(ctx context.Context, e *storage.Event) (map[string]int, error) {
	v, err := s.View(ctx, e.RoomID)
	if err != nil {
		return nil, err
	}
	if !v.Room.IsPartial() { // by now they are
		list, err := s.db.EventsByNID(ctx, []int64{e.NID})
		if err != nil || len(list) == 0 {
			return nil, err
		}
		known := *list[0]
		known.Flags &^= storage.Presumed // if it is of an earlier stay, more won't be known
		return s.JoinedServersBefore(ctx, &known)
	}
	state, err := s.db.StateAt(ctx, e.SnapshotNID)
	if err != nil {
		return nil, err
	}
	return s.countServers(stateKey{e.RoomNID, e.SnapshotNID, true}, state, v.Room.Partial), nil
}

func (s *Server) countServers(key stateKey, state storage.StateMap, p *storage.Partial) map[string]int {
	found := map[string]int{}
	for it := state.Iterator(); !it.Done(); {
		t, e, _ := it.Next()
		if t.Type == "m.room.member" && e.Membership == "join" {
			found[userid.Domain(t.StateKey)]++
		}
	}
	if key.partial {
		for _, server := range p.Servers {
			found[server] = max(found[server], 1)
		}
	}
	s.servers.joined.Set(key, found)
	return found
}

// ServerVisibility is what another server may see of a room: what any of its users
// may, taken together.
type ServerVisibility struct {
	vis    *Visibility
	server string
}

// ServerVisibility returns what a server may see of the room's past. It costs one
// query over the room's membership events, and is kept until the state changes.
func (s *Server) ServerVisibility(ctx context.Context, v *View, server string) (*ServerVisibility, error) {
	key := serverKey{stateKey{v.Room.NID, v.Room.SnapshotNID, v.Room.IsPartial()}, server}
	if found, ok := s.servers.visible.GetIfPresent(key); ok {
		return found, nil
	}
	pasts := s.pasts.Load()
	memberships, err := s.db.ServerMemberships(ctx, v.Room.NID, server)
	if err != nil {
		return nil, err
	}
	settings, err := s.db.HistoryVisibilityHistories(ctx, []int64{v.Room.NID})
	if err != nil {
		return nil, err
	}
	vis := newVisibility(v, "", strongest(memberships), settings[v.Room.NID])
	vis.current = ""
	if s.JoinedServers(v)[server] > 0 {
		vis.current = "join"
	}
	found := &ServerVisibility{vis, server}
	s.servers.visible.Set(key, found)
	if s.pasts.Load() != pasts {
		s.servers.visible.Invalidate(key)
	}
	return found, nil
}

// strongest makes the history of a server's membership from those of its users: it
// is in the room while one of them is, else invited while one is.
func strongest(list []storage.StateValue) []storage.ValueSince {
	now, counts := map[string]string{}, map[string]int{}
	var history []storage.ValueSince
	last := ""
	for _, v := range list {
		counts[now[v.StateKey]]--
		now[v.StateKey] = v.Value
		counts[v.Value]++
		value := "leave"
		switch {
		case counts["join"] > 0:
			value = "join"
		case counts["invite"] > 0:
			value = "invite"
		}
		if value != last {
			history = append(history, storage.ValueSince{Place: v.Place, Value: value})
			last = value
		}
	}
	return history
}

// WasIn reports whether the server is or was in the room.
func (sv *ServerVisibility) WasIn() bool { return sv.vis.current == "join" || sv.vis.WasIn() }

// IsIn reports whether the server is in the room.
func (sv *ServerVisibility) IsIn() bool { return sv.vis.current == "join" }

// CanSee reports whether the server may see the event: if one of its users may, and
// what is about its own users.
func (sv *ServerVisibility) CanSee(e *storage.Event) bool {
	if sv.vis.CanSee(e) || userid.Domain(e.Sender) == sv.server {
		return true
	}
	return e.Type == "m.room.member" && e.IsState() && userid.Domain(*e.StateKey) == sv.server
}

// isInvited reports whether one of the server's users is invited, and none in the room.
func (sv *ServerVisibility) isInvited() bool {
	list := sv.vis.memberships
	return len(list) > 0 && list[len(list)-1].Value == "invite"
}
