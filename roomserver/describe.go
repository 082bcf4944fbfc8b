package roomserver

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/tidwall/gjson"

	"hearth/internal/publicrooms"
)

// Description is what a room shows of itself to those who may enter it or look into
// it.
type Description struct {
	publicrooms.Room
	RoomVersion string `json:"room_version,omitempty"`
	Encryption  string `json:"encryption,omitempty"`
	// AllowedRoomIDs are the rooms whose members may join this one.
	AllowedRoomIDs []string `json:"allowed_room_ids,omitempty"`
}

// Describe describes a room.
func (s *Server) Describe(ctx context.Context, v *View) (*Description, error) {
	d := &Description{Room: publicrooms.NewRoom(v.Room.ID, &v.Summary), RoomVersion: v.Room.RoomVersion, Encryption: v.Summary.Encryption}
	if d.JoinRule != "restricted" && d.JoinRule != "knock_restricted" {
		return d, nil
	}
	e, err := s.StateEvent(ctx, v, "m.room.join_rules", "")
	if err != nil || e == nil {
		return d, err
	}
	for _, a := range gjson.GetBytes(e.JSON, "content.allow").Array() {
		if id := a.Get("room_id").Str; a.Get("type").Str == "m.room_membership" && id != "" {
			d.AllowedRoomIDs = append(d.AllowedRoomIDs, id)
		}
	}
	return d, nil
}

// describeTo describes a room to who may know of it, nil to others: inside is whether
// somebody is in it or invited, isIn whether they are in another room.
func (s *Server) describeTo(ctx context.Context, v *View, inside bool, isIn func(*View) bool) (*Description, error) {
	d, err := s.Describe(ctx, v)
	if err != nil || inside || d.WorldReadable || d.mayKnock() {
		return d, err
	}
	in, err := s.isInAllowed(ctx, d, isIn)
	if err != nil || !in {
		return nil, err
	}
	return d, nil
}

// mayKnock reports whether anyone may join the room or ask to be let in, which its
// version must know of.
func (d *Description) mayKnock() bool {
	version, err := strconv.Atoi(d.RoomVersion)
	if err != nil {
		version = 12 // another server didn't tell, and knows best
	}
	return d.JoinRule == "public" || d.JoinRule == "knock" && version >= 7 || d.JoinRule == "knock_restricted" && version >= 10
}

func (s *Server) isInAllowed(ctx context.Context, d *Description, isIn func(*View) bool) (bool, error) {
	if d.JoinRule != "restricted" || d.RoomVersion != "" && slices.Contains([]string{"1", "2", "3", "4", "5", "6", "7"}, d.RoomVersion) {
		return false, nil
	}
	for _, id := range d.AllowedRoomIDs[:min(len(d.AllowedRoomIDs), maxAllowedRooms)] {
		v, err := s.View(ctx, id)
		if errors.Is(err, ErrUnknownRoom) {
			continue
		}
		if err != nil {
			return false, err
		}
		if isIn(v) {
			return true, nil
		}
	}
	return false, nil
}

// maxAllowedRooms bounds the rooms that are looked at for one who is a member.
const maxAllowedRooms = 100

// DescribeTo describes a room to a user, or to nobody in particular if userID is "".
// It returns nil to those who may neither enter it nor look into it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
func (s *Server) DescribeTo(ctx context.Context, v *View, userID string) (*Description, error) {
	membership := v.Membership(userID)
	if membership == "ban" && v.Summary.HistoryVisibility != "world_readable" {
		return nil, nil
	}
	return s.describeTo(ctx, v, membership == "join" || membership == "invite", func(v *View) bool { return v.Membership(userID) == "join" })
}

// MayKnow reports whether a user may know of a room that another server describes.
func (s *Server) MayKnow(ctx context.Context, d *Description, userID string) (bool, error) {
	v, err := s.View(ctx, d.RoomID)
	if err == nil && v.Membership(userID) == "invite" || d.WorldReadable || d.mayKnock() {
		return true, nil
	}
	if err != nil && !errors.Is(err, ErrUnknownRoom) {
		return false, err
	}
	return s.isInAllowed(ctx, d, func(v *View) bool { return v.Membership(userID) == "join" })
}

// DescribeToServer describes a room to another server, nil if none of its users may
// enter it or look into it.
func (s *Server) DescribeToServer(ctx context.Context, v *View, server string) (*Description, error) {
	allowed, err := s.ServerAllowed(ctx, v, server)
	if err != nil || !allowed {
		return nil, err
	}
	isIn := func(v *View) bool { return s.JoinedServers(v)[server] > 0 }
	d, err := s.describeTo(ctx, v, isIn(v), isIn)
	if err != nil || d != nil {
		return d, err
	}
	vis, err := s.ServerVisibility(ctx, v, server)
	if err != nil || !vis.isInvited() {
		return nil, err
	}
	return s.Describe(ctx, v)
}
