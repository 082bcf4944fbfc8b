package federationapi

import (
	"context"
	"errors"
	"time"

	"github.com/tidwall/gjson"

	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

// maxHandedOver bounds the sticky events of a room that a server is sent when it comes.
const maxHandedOver = 1000

// arrivalOf is the event if it says that a user is in its room, otherwise nil.
func arrivalOf(e *storage.Event) *storage.Event {
	if isArrival(e) {
		return e
	}
	return nil
}

// isArrival reports whether an event says that a user is in its room.
func isArrival(e *storage.Event) bool {
	return e.Type == "m.room.member" && e.IsState() && e.Accepted() && e.Position != 0 && e.Sub == 0 &&
		gjson.GetBytes(e.JSON, "content.membership").Str == "join"
}

// welcome has servers sent what they need of this server's users because they share a room
// only now.
func (s *sender) welcome(ctx context.Context, list []*outgoing) error {
	var c storage.Change
	for _, o := range list {
		if o.arrival == nil {
			continue
		}
		var handed []storage.Handover
		var err error
		if userid.Domain(*o.arrival.StateKey) == s.a.serverName {
			handed, err = s.introduce(ctx, o.arrival)
		} else {
			handed, err = s.handOver(ctx, o.arrival)
		}
		if err != nil {
			return err
		}
		c.Handovers = append(c.Handovers, handed...)
	}
	if len(c.Handovers) == 0 {
		return nil
	}
	return s.a.db.Stream.Append(ctx, &c)
}

// handOver is what is sticky of this server's users, for the server of whom comes if it wasn't
// in the room: it wouldn't get it otherwise, since it is from before.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4354
func (s *sender) handOver(ctx context.Context, arrival *storage.Event) (list []storage.Handover, err error) {
	server := userid.Domain(*arrival.StateKey)
	nids, err := s.a.db.StickyEventsOf(ctx, s.a.serverName, arrival.RoomNID, arrival.Position, time.Now(), maxHandedOver)
	if err != nil || len(nids) == 0 || !s.a.mayBeSent(server) {
		return nil, err
	}
	before, err := s.a.rooms.JoinedServersBefore(ctx, arrival)
	if err != nil || before[server] > 0 {
		return nil, err
	}
	for _, nid := range nids {
		list = append(list, storage.Handover{Server: server, EventNID: nid})
	}
	return list, nil
}

// introductionPause is how long after a room's members are known its servers are introduced to
// this server's users there. Those that are in the room hear of the join itself; whoever leaves
// again at once needs no introduction.
const introductionPause = 3 * time.Second

// introduce is a device of a user of this server who comes into a room, for the servers there
// that shared none with them before: by one they learn that there is a list to ask for. Where
// the room's servers aren't known yet, that is done when they are.
//
// https://spec.matrix.org/v1.19/server-server-api/#device-management
func (s *sender) introduce(ctx context.Context, arrival *storage.Event) (list []storage.Handover, err error) {
	before, err := s.a.rooms.EventList(ctx, []int64{arrival.ReplacesNID})
	if err != nil || len(before) > 0 && isArrival(before[0]) {
		return nil, err
	}
	v, err := s.a.rooms.View(ctx, arrival.RoomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, nil
	}
	if err != nil || v.Room.IsPartial() {
		return nil, err
	}
	return s.introductions(ctx, v, *arrival.StateKey)
}

// introduceLater introduces this server's users in a room whose members have just become known.
// Of an introduction that a stop prevents the servers have the join, by which they ask as well.
func (s *sender) introduceLater(roomID string) {
	time.AfterFunc(introductionPause, func() {
		s.goUnlessStopped(func() {
			if err := s.introduceMembers(s.ctx, roomID); err != nil && s.ctx.Err() == nil {
				s.a.log.Warn("introducing users to the servers in a room failed", "room", roomID, "err", err)
			}
		})
	})
}

func (s *sender) introduceMembers(ctx context.Context, roomID string) error {
	v, err := s.a.rooms.View(ctx, roomID)
	if err != nil || v.Room.IsPartial() {
		return err
	}
	var c storage.Change
	for _, userID := range v.JoinedOf(s.a.serverName) {
		list, err := s.introductions(ctx, v, userID)
		if err != nil {
			return err
		}
		c.Handovers = append(c.Handovers, list...)
	}
	if len(c.Handovers) == 0 {
		return nil
	}
	return s.a.db.Stream.Append(ctx, &c)
}

// introductions are a device of a user in a room for those servers in it that share no other
// with them.
func (s *sender) introductions(ctx context.Context, v *roomserver.View, userID string) (list []storage.Handover, err error) {
	servers := s.a.rooms.JoinedServers(v)
	if len(servers) == 0 || len(servers) == 1 && servers[s.a.serverName] > 0 {
		return nil, nil
	}
	deviceID, err := s.a.db.NewestDevice(ctx, userID)
	if err != nil || deviceID == "" {
		return nil, err
	}
	sharing, err := s.serversSharing(ctx, []string{userID})
	if err != nil {
		return nil, err
	}
	for server := range servers {
		if sharing[userID][server] <= 1 && s.a.mayBeSent(server) {
			list = append(list, storage.Handover{Server: server, UserID: userID, DeviceID: deviceID})
		}
	}
	return list, nil
}

func outgoingHandover(at storage.Position, h *storage.Handover) *outgoing {
	o := &outgoing{at: at, handover: h}
	if h.EventNID == 0 {
		o.device = &storage.DeviceListChange{Position: at, UserID: h.UserID, DeviceID: h.DeviceID}
	}
	return o
}

// resolveHandover reads the event that is handed over. One that is sticky no more concerns
// nobody.
func (s *sender) resolveHandover(ctx context.Context, o *outgoing) error {
	if o.handover.EventNID == 0 {
		o.also = o.handover.Server
		return nil
	}
	list, err := s.a.rooms.EventList(ctx, []int64{o.handover.EventNID})
	if err != nil || len(list) == 0 || list[0].StickyUntil <= time.Now().UnixMilli() {
		return err
	}
	o.event, o.also = list[0], o.handover.Server
	return nil
}
