package clientapi

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
)

func (a *API) upgradeRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "POST", Path: "/rooms/{roomId}/upgrade", Rate: httpapi.RateJoin, Handle: a.postUpgrade},
	}
}

// maxCreators bounds the creators of a room beside the one who makes it.
const maxCreators = 50

// postUpgrade answers POST /_matrix/client/v3/rooms/{roomId}/upgrade.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidupgrade
func (a *API) postUpgrade(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		NewVersion string   `json:"new_version"`
		Creators   []string `json:"additional_creators"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if body.NewVersion == "" {
		return nil, httpapi.MissingParam("new_version is missing")
	}
	if err := checkCreators(body.Creators); err != nil {
		return nil, err
	}
	slices.Sort(body.Creators)
	q := roomserver.UpgradeRequest{RoomID: httpapi.Var(r, "roomId"), User: u.UserID, Version: body.NewVersion,
		AdditionalCreators: slices.Compact(body.Creators)}
	newRoom, err := a.rooms.Upgrade(r.Context(), q)
	if err != nil {
		return nil, err
	}
	a.carryOver(r.Context(), newRoom, u.UserID)
	if err := a.inviteCreators(r, newRoom, u.UserID); err != nil {
		return nil, err
	}
	return map[string]string{"replacement_room": newRoom}, nil
}

// checkCreators refuses what can't be additional_creators.
func checkCreators(ids []string) error {
	if len(ids) > maxCreators {
		return httpapi.InvalidParam("additional_creators names more than %d users", maxCreators)
	}
	for _, id := range ids {
		if _, _, ok := userid.Split(id); !ok {
			return httpapi.InvalidParam("%q is no user id", id)
		}
	}
	return nil
}

// inviteCreators invites the creators of a room that was just made, who could do all in it
// but come in. The room stands whether or not that succeeds.
func (a *API) inviteCreators(r *http.Request, roomID, by string) error {
	v, err := a.rooms.View(r.Context(), roomID)
	if err != nil {
		return err
	}
	powers, err := a.rooms.PowerLevels(r.Context(), v)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(slices.Clone(powers.Creators()), func(id string) bool { return id == by })
	a.inviteOthers(r, roomserver.MembershipRequest{RoomID: roomID, Sender: by, Membership: "invite"}, others, false)
	return nil
}

// hasJoined reports whether the user is in the room.
func (a *API) hasJoined(ctx context.Context, roomID, userID string) (bool, error) {
	v, err := a.rooms.View(ctx, roomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return false, nil
	}
	return err == nil && v.Membership(userID) == "join", err
}
