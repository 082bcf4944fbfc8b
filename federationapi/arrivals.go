package federationapi

import (
	"context"

	"github.com/tidwall/gjson"

	"hearth/internal/userid"
	"hearth/storage"
)

// arrival is a user of this server who has come into a room.
type arrival struct{ userID, roomID string }

// arrivals are the users who come, by what is sent to others, into rooms that others are in.
func (s *sender) arrivals(ctx context.Context, list []*outgoing) (came []arrival, err error) {
	for _, o := range list {
		e := o.event
		if e == nil || e.Type != "m.room.member" || !e.IsState() || len(o.servers) < 2 || !userid.IsLocal(*e.StateKey, s.a.serverName) ||
			gjson.GetBytes(e.JSON, "content.membership").Str != "join" {
			continue
		}
		if e.ReplacesNID != 0 {
			before, err := s.a.rooms.EventList(ctx, []int64{e.ReplacesNID})
			if err != nil {
				return nil, err
			}
			if len(before) > 0 && gjson.GetBytes(before[0].JSON, "content.membership").Str == "join" {
				continue // called otherwise now
			}
		}
		came = append(came, arrival{*e.StateKey, e.RoomID})
	}
	return came, nil
}

// announceArrivals tells servers of the devices of users with whom theirs share a room only
// now.
//
// https://spec.matrix.org/v1.19/server-server-api/#device-management
func (s *sender) announceArrivals(ctx context.Context, came []arrival) error {
	if len(came) == 0 {
		return nil
	}
	var users []string
	for _, c := range came {
		users = append(users, c.userID)
	}
	sharing, err := s.serversSharing(ctx, users)
	if err != nil {
		return err
	}
	var strangers []string
	for _, c := range came {
		in, err := s.serversIn(ctx, c.roomID)
		if err != nil {
			return err
		}
		for server := range in {
			if server != s.a.serverName && sharing[c.userID][server] == 1 {
				strangers = append(strangers, c.userID)
				break
			}
		}
	}
	if len(strangers) == 0 {
		return nil
	}
	devices, err := s.a.db.DeviceChangesOf(ctx, strangers, 0)
	if err != nil {
		return err
	}
	change := &storage.Change{}
	for _, d := range devices {
		if !d.Deleted {
			change.DeviceLists = append(change.DeviceLists, storage.DeviceListChange{UserID: d.UserID, DeviceID: d.DeviceID, Announce: true})
		}
	}
	if len(change.DeviceLists) == 0 {
		return nil
	}
	return s.a.db.Stream.Append(ctx, change)
}
