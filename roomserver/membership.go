package roomserver

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

// MembershipRequest is a local user's wish to change a membership.
type MembershipRequest struct {
	RoomID, Sender string
	// Target is whose membership changes.
	Target string
	// Membership is join, invite, leave, ban or knock.
	Membership string
	Reason     string
	// Guest marks a target who may join only where guests may.
	Guest bool
	// Content holds further members of the event's content. A name and a picture count
	// only if they are the sender's own.
	Content map[string]any
}

// content is the content of the member event as far as the request says it.
func (r *MembershipRequest) content() map[string]any {
	content := map[string]any{}
	for k, v := range r.Content {
		content[k] = v
	}
	content["membership"] = r.Membership
	if r.Reason != "" {
		content["reason"] = r.Reason
	}
	return content
}

func checkMembership(m string) error {
	if !slices.Contains([]string{"join", "invite", "leave", "ban", "knock"}, m) {
		return httpapi.BadJSON("%q is no membership", m)
	}
	return nil
}

// membershipOf reads a member event's membership.
func membershipOf(e *storage.Event) string {
	return gjson.GetBytes(e.JSON, "content.membership").Str
}

// SetMembership changes a user's membership of a room and returns the event that
// does, which may be an older one that says the same. Errors are *httpapi.Error:
// M_FORBIDDEN where the room doesn't allow it, M_INVITE_BLOCKED, M_NOT_FOUND for an
// unknown room.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-membership
func (s *Server) SetMembership(ctx context.Context, r MembershipRequest) (string, error) {
	if err := checkMembership(r.Membership); err != nil {
		return "", err
	}
	if userid.Domain(r.Target) != s.o.ServerName && r.Membership == "invite" {
		return "", httpapi.Forbidden("Users of other servers are invited by theirs")
	}
	if r.Membership == "invite" {
		if err := s.TakesInvite(ctx, r.Target, r.Sender); err != nil {
			return "", err
		}
	}
	content, err := s.memberContent(ctx, r)
	if err != nil {
		return "", err
	}
	var eventID string
	err = s.change(ctx, r.RoomID, func(b *builder) error {
		eventID = ""
		e, err := b.setMembership(r, content)
		if e != nil {
			eventID = e.EventID
		}
		return err
	})
	if err == ErrUnknownRoom {
		return "", httpapi.NotFound("The room %s isn't known to this server", r.RoomID)
	}
	return eventID, err
}

// memberContent is the content of the member event, with the target's profile
// where that is the target's own server's to tell.
func (s *Server) memberContent(ctx context.Context, r MembershipRequest) (map[string]any, error) {
	content := r.content()
	delete(content, AuthorisedVia) // never the client's to say
	if r.Sender != r.Target {
		delete(content, "displayname")
		delete(content, "avatar_url")
	}
	if s.o.Profile == nil || userid.Domain(r.Target) != s.o.ServerName || r.Membership == "leave" || r.Membership == "ban" {
		return content, nil
	}
	name, avatar, err := s.o.Profile(ctx, r.Target)
	if err != nil {
		return nil, fmt.Errorf("reading a profile: %w", err)
	}
	for field, value := range map[string]string{"displayname": name, "avatar_url": avatar} {
		// Users may be called otherwise in a room than elsewhere.
		if _, given := content[field]; !given && value != "" {
			content[field] = value
		}
	}
	return content, nil
}

func (b *builder) setMembership(r MembershipRequest, content map[string]any) (*storage.StateEntry, error) {
	current, known := b.head.state.Get(storage.StateTuple{Type: "m.room.member", StateKey: r.Target})
	if known && current.Membership == r.Membership && (r.Membership == "leave" || r.Membership == "ban") {
		return &current, nil // leaving a room twice is leaving it
	}
	if r.Membership == "invite" && current.Membership == "join" {
		return nil, alreadyJoined(r.Target)
	}
	if r.Membership == "join" && r.Guest {
		if err := b.authoriseGuest(); err != nil {
			return nil, err
		}
	}
	if r.Membership == "join" && current.Membership == "invite" && b.head.summary.JoinedMembers == 0 {
		return nil, httpapi.NotFound("Nobody is in the room any more") // clients say so to whom was invited
	}
	if r.Membership == "join" {
		if err := b.authoriseRestricted(r.Target, content); err != nil {
			return nil, err
		}
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, httpapi.BadJSON("The content can't be written as JSON: %v", err)
	}
	req := EventRequest{RoomID: r.RoomID, Sender: r.Sender, Type: "m.room.member", StateKey: &r.Target, Content: raw}
	if id := b.unchanged(req); id != "" {
		return &current, nil
	}
	e, err := b.send(req, [16]byte{}, nil)
	if err != nil {
		return nil, err
	}
	return &storage.StateEntry{EventID: e.ID, EventNID: e.NID, Membership: r.Membership}, nil
}

// alreadyJoined refuses to invite who is in the room. The authorisation rules alone would
// let an invitation that was made to an address turn somebody out.
func alreadyJoined(userID string) error {
	return httpapi.Forbidden("%s is in the room already", userID)
}

// authoriseGuest refuses guests where the room doesn't admit them.
//
// https://spec.matrix.org/v1.19/client-server-api/#guest-access
func (b *builder) authoriseGuest() error {
	pdu, err := b.statePDU(storage.StateTuple{Type: "m.room.guest_access"})
	if err != nil {
		return err
	}
	if pdu == nil || gjson.GetBytes(pdu.Content(), "guest_access").Str != "can_join" {
		return httpapi.GuestForbidden("Guests may not join this room")
	}
	return nil
}

// UpdateProfile sends the user's new profile to every room the user has joined.
// A room that refuses doesn't keep the others from knowing.
func (s *Server) UpdateProfile(ctx context.Context, userID string) error {
	memberships, err := s.db.UserMemberships(ctx, userID)
	if err != nil {
		return err
	}
	for _, m := range memberships {
		if m.Membership != "join" {
			continue
		}
		_, err := s.SetMembership(ctx, MembershipRequest{RoomID: m.RoomID, Sender: userID, Target: userID, Membership: "join"})
		if err != nil && httpapi.CodeOf(err) != "M_FORBIDDEN" {
			return fmt.Errorf("updating a profile in %s: %w", m.RoomID, err)
		}
	}
	return nil
}

// LeaveAll takes the user out of every room and rejects every invitation, as a
// deactivated account must.
func (s *Server) LeaveAll(ctx context.Context, userID string) error {
	memberships, err := s.db.UserMemberships(ctx, userID)
	if err != nil {
		return err
	}
	for _, m := range memberships {
		if m.Membership != "join" && m.Membership != "invite" && m.Membership != "knock" {
			continue
		}
		_, err := s.SetMembership(ctx, MembershipRequest{RoomID: m.RoomID, Sender: userID, Target: userID, Membership: "leave"})
		if err != nil && httpapi.CodeOf(err) != "M_FORBIDDEN" {
			return fmt.Errorf("leaving %s: %w", m.RoomID, err)
		}
	}
	return nil
}
