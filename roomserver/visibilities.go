package roomserver

import (
	"context"

	"hearth/storage"
)

// Visibilities is Visibility for many rooms, with a fixed number of queries.
func (s *Server) Visibilities(ctx context.Context, views []*View, userID string) (map[int64]*Visibility, error) {
	found := make(map[int64]*Visibility, len(views))
	var missing []*View
	var nids []int64
	for _, v := range views {
		if vis, ok := s.histories.GetIfPresent(historyKeyOf(v, userID)); ok {
			found[v.Room.NID] = vis
			continue
		}
		missing = append(missing, v)
		nids = append(nids, v.Room.NID)
	}
	if len(missing) == 0 {
		return found, nil
	}
	pasts := s.pasts.Load()
	memberships, err := s.db.MembershipHistories(ctx, nids, userID)
	if err != nil {
		return nil, err
	}
	settings, err := s.db.HistoryVisibilityHistories(ctx, nids)
	if err != nil {
		return nil, err
	}
	for _, v := range missing {
		vis := newVisibility(v, userID, memberships[v.Room.NID], settings[v.Room.NID])
		s.histories.Set(historyKeyOf(v, userID), vis)
		if s.pasts.Load() != pasts {
			s.histories.Invalidate(historyKeyOf(v, userID))
		}
		found[v.Room.NID] = vis
	}
	return found, nil
}

// Visibility returns what the user may see of the room's past. An empty userID
// stands for somebody who was never in it.
func (s *Server) Visibility(ctx context.Context, v *View, userID string) (*Visibility, error) {
	found, err := s.Visibilities(ctx, []*View{v}, userID)
	return found[v.Room.NID], err
}

// Remembered is Visibility for who asks for a room's past: of one that they have left and forgotten it is a
// stranger's.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidforget
func (s *Server) Remembered(ctx context.Context, v *View, userID string) (*Visibility, error) {
	vis, err := s.Visibility(ctx, v, userID)
	if err != nil || vis.current != "leave" && vis.current != "ban" {
		return vis, err
	}
	forgotten, err := s.db.HasForgotten(ctx, v.Room.NID, userID)
	if err != nil || !forgotten {
		return vis, err
	}
	return newVisibility(v, "", nil, vis.settings), nil
}

func historyKeyOf(v *View, userID string) historyKey {
	member, _ := v.Entry("m.room.member", userID)
	setting, _ := v.Entry("m.room.history_visibility", "")
	return historyKey{v.Room.NID, userID, member.EventNID, setting.EventNID}
}

func newVisibility(v *View, userID string, memberships, settings []storage.ValueSince) *Visibility {
	vis := &Visibility{userID: userID, current: v.Membership(userID), memberships: memberships, settings: settings, setting: "shared"}
	if n := len(settings); n > 0 {
		vis.setting = knownVisibility(settings[n-1].Value)
	}
	return vis
}
