package clientapi

import (
	"errors"
	"net/http"
	"time"

	"hearth/internal/httpapi"
	"hearth/storage"
)

func (a *API) reportRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "POST", Path: "/rooms/{roomId}/report", Rate: httpapi.RateInvite, Handle: a.postReportRoom},
		{Method: "POST", Path: "/rooms/{roomId}/report/{eventId}", Rate: httpapi.RateInvite, Handle: a.postReportEvent},
		{Method: "POST", Path: "/users/{userId}/report", Rate: httpapi.RateInvite, Handle: a.postReportUser},
	}
}

const (
	// maxReason bounds the reason of a report, in bytes.
	maxReason = 1000
	// maxReports bounds the reports that are kept of each user.
	maxReports = 500
)

// report keeps what the user reports, with the reason in the body. Whether there is such a
// room or user isn't looked at: the answer must not tell.
func (a *API) report(r *http.Request, u *httpapi.Requester, report storage.Report, reasonRequired bool) error {
	var body struct {
		Reason *string `json:"reason"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return err
	}
	switch {
	case body.Reason == nil && reasonRequired:
		return httpapi.MissingParam("reason is missing")
	case body.Reason == nil:
		body.Reason = new(string)
	}
	if err := checkText("reason", *body.Reason, maxReason); err != nil {
		return err
	}
	report.Reporter, report.Reason, report.ReceivedAt = u.UserID, *body.Reason, time.Now().UnixMilli()
	return a.db.AddReport(r.Context(), report, maxReports)
}

// postReportRoom answers POST /_matrix/client/v3/rooms/{roomId}/report.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreport
func (a *API) postReportRoom(r *http.Request, u *httpapi.Requester) (any, error) {
	roomID := httpapi.Var(r, "roomId")
	if len(roomID) < 2 || len(roomID) > 255 || roomID[0] != '!' {
		return nil, httpapi.InvalidParam("%q is no room id", roomID)
	}
	return nil, a.report(r, u, storage.Report{Kind: "room", RoomID: roomID}, true)
}

// postReportUser answers POST /_matrix/client/v3/users/{userId}/report.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3usersuseridreport
func (a *API) postReportUser(r *http.Request, u *httpapi.Requester) (any, error) {
	userID := httpapi.Var(r, "userId")
	if _, _, ok := splitID(userID, '@'); !ok {
		return nil, httpapi.InvalidParam("%q is no user id", userID)
	}
	return nil, a.report(r, u, storage.Report{Kind: "user", Target: userID}, true)
}

// postReportEvent answers POST /_matrix/client/v3/rooms/{roomId}/report/{eventId}: for
// members of the room, of an event that they can see.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3roomsroomidreporteventid
func (a *API) postReportEvent(r *http.Request, u *httpapi.Requester) (any, error) {
	unknown := httpapi.NotFound("The event was not found, or you aren't in the room")
	v, err := a.view(r)
	if httpapi.CodeOf(err) == "M_FORBIDDEN" || err == nil && v.Membership(u.UserID) != "join" {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	e, err := a.rooms.EventByID(r.Context(), v.Room.ID, httpapi.Var(r, "eventId"))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, unknown
	}
	if err != nil {
		return nil, err
	}
	vis, err := a.rooms.Visibility(r.Context(), v, u.UserID)
	if err != nil {
		return nil, err
	}
	if !e.Accepted() || !vis.CanSee(e) {
		return nil, unknown
	}
	return nil, a.report(r, u, storage.Report{Kind: "event", RoomID: v.Room.ID, EventID: e.ID, Target: e.Sender}, false)
}
