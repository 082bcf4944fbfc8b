package federationapi

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

// outgoing is something in the stream that other servers are to be sent. One of event,
// receipt, presence, device and toDevice is set, or arrival, which has something sent.
type outgoing struct {
	at       storage.Position
	event    *storage.Event
	view     *roomserver.View // of the event's room after it, if it has just happened
	receipt  *storage.Receipt
	presence *storage.Presence
	device   *storage.DeviceListChange
	toDevice *storage.RemoteToDevice
	// handover, if not nil, is why a single server is sent the event or device.
	handover *storage.Handover
	// arrival is that a user has come into a room, or is there as somebody else.
	arrival *storage.Event
	// servers are those whom it concerns, and also another one. The map is shared.
	servers map[string]int
	also    string
}

func (o *outgoing) concerns(server string) bool {
	return o.servers[server] > 0 || o.also == server
}

// outgoingOf lists what in a batch this server's users did that concerns others, and
// what it passes on.
func (s *sender) outgoingOf(b *storage.Batch) (list []*outgoing) {
	own := s.a.serverName
	for _, c := range b.Changes {
		if c.Room != nil {
			for _, e := range c.Room.Events {
				if e.Accepted() && e.Position != 0 && e.Sub == 0 && e.Flags&storage.Relayed == 0 && (userid.Domain(e.Sender) == own || e.Flags&storage.PassedOn != 0) {
					list = append(list, &outgoing{at: e.Position, event: e, view: &roomserver.View{Room: c.Room.Room, State: c.Room.StateAfter}})
				}
				if isArrival(e) {
					list = append(list, &outgoing{at: e.Position, arrival: e})
				}
			}
		}
		for i, x := range c.Receipts {
			if x.Type == "m.read" && userid.Domain(x.UserID) == own {
				list = append(list, &outgoing{at: x.Position, receipt: &c.Receipts[i]})
			}
		}
		for i, p := range c.Presence {
			if s.a.o.PresenceEnabled && userid.Domain(p.UserID) == own {
				list = append(list, &outgoing{at: p.Position, presence: &c.Presence[i]})
			}
		}
		for i, m := range c.RemoteToDevice {
			list = append(list, &outgoing{at: m.Position, toDevice: &c.RemoteToDevice[i]})
		}
		for i, h := range c.Handovers {
			list = append(list, outgoingHandover(h.Position, &c.Handovers[i]))
		}
		for i, l := range c.DeviceLists {
			if l.Announce {
				list = append(list, &outgoing{at: l.Position, device: &c.DeviceLists[i]})
			}
		}
	}
	sortOutgoing(list)
	return list
}

func sortOutgoing(list []*outgoing) {
	slices.SortStableFunc(list, func(x, y *outgoing) int { return int(x.at - y.at) })
}

// resolve finds whom things concern.
func (s *sender) resolve(ctx context.Context, list []*outgoing) error {
	var users []string
	for _, o := range list {
		var err error
		switch {
		case o.handover != nil:
			err = s.resolveHandover(ctx, o)
		case o.event != nil:
			err = s.resolveEvent(ctx, o)
		case o.receipt != nil:
			o.servers, err = s.serversIn(ctx, o.receipt.RoomID)
		case o.toDevice != nil:
			o.also = o.toDevice.Server
		case o.presence != nil:
			users = append(users, o.presence.UserID)
		case o.device != nil:
			users = append(users, o.device.UserID)
		}
		if err != nil {
			return err
		}
	}
	if len(users) == 0 {
		return nil
	}
	sharing, err := s.serversSharing(ctx, users)
	if err != nil {
		return err
	}
	for _, o := range list {
		if o.presence != nil {
			o.servers = sharing[o.presence.UserID]
		} else if o.device != nil && o.handover == nil {
			o.servers = sharing[o.device.UserID]
		}
	}
	return nil
}

// resolveEvent finds the servers that were in the room before an event, and that of
// whom it makes leave. Who has come since mustn't learn by this what was said before.
func (s *sender) resolveEvent(ctx context.Context, o *outgoing) (err error) {
	o.also = targetOf(o.event)
	if o.view != nil {
		after := s.a.rooms.JoinedServers(o.view)
		alone := len(after) == 0 || len(after) == 1 && after[s.a.serverName] > 0
		o.view = nil
		if alone {
			// None was in it before either, unless the event is about its user.
			return nil
		}
	}
	o.servers, err = s.a.rooms.JoinedServersBefore(ctx, o.event)
	return err
}

// targetOf is the server of a membership's user, who may have left by it, "" for other
// events. An invited user's server has been given the invitation already.
func targetOf(e *storage.Event) string {
	if e.Flags&storage.PassedOn != 0 {
		return "" // who sent it
	}
	if e.Type == "m.room.member" && e.IsState() && gjson.GetBytes(e.JSON, "content.membership").Str != "invite" {
		return userid.Domain(*e.StateKey)
	}
	return ""
}

func (s *sender) serversIn(ctx context.Context, roomID string) (map[string]int, error) {
	v, err := s.a.rooms.View(ctx, roomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return s.a.rooms.JoinedServers(v), nil
}

// serversSharing returns for each of this server's users the servers in their rooms.
func (s *sender) serversSharing(ctx context.Context, users []string) (map[string]map[string]int, error) {
	joined, err := s.a.db.RoomsOfUsers(ctx, users)
	if err != nil {
		return nil, err
	}
	// Users of the same rooms share what is found of them.
	found := map[string]map[string]int{}
	byRooms := map[string]map[string]int{}
	for userID, rooms := range joined {
		slices.SortFunc(rooms, func(x, y storage.RoomRef) int { return strings.Compare(x.ID, y.ID) })
		var key strings.Builder
		for _, r := range rooms {
			key.WriteString(r.ID)
			key.WriteByte(' ')
		}
		servers, ok := byRooms[key.String()]
		if !ok {
			servers = map[string]int{}
			for _, r := range rooms {
				in, err := s.serversIn(ctx, r.ID)
				if err != nil {
					return nil, err
				}
				for server := range in {
					servers[server]++
				}
			}
			byRooms[key.String()] = servers
		}
		found[userID] = servers
	}
	return found, nil
}
