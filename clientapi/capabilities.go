package clientapi

import (
	"net/http"

	"hearth/internal/httpapi"
)

func (a *API) capabilitiesRoutes() []httpapi.Route {
	return []httpapi.Route{{Method: "GET", Path: "/capabilities", Handle: a.getCapabilities}}
}

// roomVersions are the room versions that this server understands, all stable.
var roomVersions = []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"}

// getCapabilities is GET /capabilities.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3capabilities
func (a *API) getCapabilities(_ *http.Request, u *httpapi.Requester) (any, error) {
	available := make(map[string]string, len(roomVersions))
	for _, v := range roomVersions {
		available[v] = "stable"
	}
	enabled := func(yes bool) map[string]bool { return map[string]bool{"enabled": yes} }
	capabilities := map[string]any{
		"m.room_versions":            map[string]any{"default": a.rooms.DefaultRoomVersion(), "available": available},
		"m.change_password":          enabled(true),
		"m.profile_fields":           enabled(true),
		"m.set_displayname":          enabled(true),
		"m.set_avatar_url":           enabled(true),
		"m.3pid_changes":             enabled(a.o.Mailer != nil),
		"m.get_login_token":          enabled(true),
		"m.forget_forced_upon_leave": enabled(a.rooms.ForgetsOnLeave()),

		"org.matrix.msc4140.delayed_events": map[string]int64{
			"max_delay_ms": a.o.Delayed.MaxDelay().Milliseconds(), "max_scheduled": int64(a.o.Delayed.MaxPerUser())},
	}
	if u.Admin {
		capabilities["m.account_moderation"] = map[string]bool{"lock": true, "suspend": true}
	}
	return map[string]any{"capabilities": capabilities}, nil
}
