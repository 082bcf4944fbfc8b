package clientapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"hearth/identity"
	"hearth/internal/devicekeys"
	"hearth/internal/httpapi"
	"hearth/internal/publicrooms"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

// Federation reaches the rooms and users of other servers.
type Federation struct {
	// Join lets a user into a room by way of one of the servers.
	Join func(ctx context.Context, roomID, userID string, via []string, content map[string]any) error
	// Knock has a user ask to be let into a room, by way of one of the servers.
	Knock func(ctx context.Context, roomID, userID string, via []string, content map[string]any) error
	// Leave ends a membership of a room that none of this server's users is in.
	Leave func(ctx context.Context, roomID, userID string, content map[string]any) error
	// Invite invites a user of another server.
	Invite func(ctx context.Context, r roomserver.MembershipRequest) error
	// Redeem has an invitation to an address, which a user of another server made, become that
	// of a user of this one.
	Redeem func(ctx context.Context, r identity.Redemption) error
	// Backfill asks for what is missing before a gap of a room's timeline, and reports
	// whether anything was found.
	Backfill func(ctx context.Context, v *roomserver.View, gap *storage.Gap) (bool, error)
	// TimeNear asks for the time of the event behind a gap of a room's timeline that is
	// closest to a time, at it or after it if forward, else at it or before it.
	TimeNear func(ctx context.Context, v *roomserver.View, gap *storage.Gap, ts int64, forward bool) (time int64, found bool)
	// ResolveAlias asks the alias's own server.
	ResolveAlias func(ctx context.Context, alias string) (roomID string, servers []string, err error)
	// PublicRooms reads another server's directory.
	PublicRooms func(ctx context.Context, server string, q *publicrooms.Query) (*publicrooms.Page, error)
	// Profile returns the profile of a user of another server. allow is called first if that
	// server has to be asked.
	Profile func(ctx context.Context, userID string, allow func() error) (map[string]json.RawMessage, error)
	// QueryKeys returns the keys of users of other servers, and which servers couldn't be
	// asked.
	QueryKeys func(ctx context.Context, users []string, timeout time.Duration) (*devicekeys.Keys, map[string]any, error)
	// ClaimKeys takes one-time keys of their devices, by user, device and algorithm.
	ClaimKeys func(ctx context.Context, asked map[string]map[string]string, timeout time.Duration) (map[string]map[string]map[string]json.RawMessage, map[string]any)
	// AskSpace has other servers describe a room, and its children if it is a space;
	// nil if none does.
	AskSpace func(ctx context.Context, roomID string, via []string, suggestedOnly bool) *roomserver.Space
}

// maxVia bounds the servers that a client may name to join by.
const maxVia = 20

// viaOf are the servers that the request names to join by.
func viaOf(r *http.Request) ([]string, error) {
	q := r.URL.Query()
	via := slices.Concat(q["via"], q["server_name"])
	if len(via) > maxVia {
		return nil, httpapi.InvalidParam("More than %d servers are named to join by", maxVia)
	}
	return via, nil
}

// enterRemote lets a user into a room by way of others, or has them knock on it. The server of
// who invited the user is likely to be in it and, if no other is known, that in an old room's id.
func (a *API) enterRemote(r *http.Request, m roomserver.MembershipRequest, via []string) error {
	if v, err := a.rooms.View(r.Context(), m.RoomID); err == nil {
		e, err := a.rooms.StateEvent(r.Context(), v, "m.room.member", m.Target)
		if err != nil {
			return err
		}
		if e != nil {
			via = append(via, userid.Domain(e.Sender))
		}
	}
	if !slices.ContainsFunc(via, func(server string) bool { return server != a.serverName }) {
		via = []string{userid.Domain(m.RoomID)}
	}
	content, err := a.rooms.MemberContent(r.Context(), m)
	if err != nil {
		return err
	}
	if m.Membership == "knock" {
		return a.o.Federation.Knock(r.Context(), m.RoomID, m.Target, via, content)
	}
	return a.o.Federation.Join(r.Context(), m.RoomID, m.Target, via, content)
}

// inviteRemote invites a user of another server.
func (a *API) inviteRemote(ctx context.Context, m roomserver.MembershipRequest) error {
	if a.o.Federation == nil {
		return httpapi.Forbidden("This server doesn't federate: only its own users can be invited")
	}
	return a.o.Federation.Invite(ctx, m)
}

// leaveRemote ends a membership of a room that this server isn't in.
func (a *API) leaveRemote(r *http.Request, m roomserver.MembershipRequest) error {
	if a.o.Federation == nil {
		return httpapi.Forbidden("This server doesn't federate any more, and isn't in the room")
	}
	content, err := a.rooms.MemberContent(r.Context(), m)
	if err != nil {
		return err
	}
	return a.o.Federation.Leave(r.Context(), m.RoomID, m.Target, content)
}
