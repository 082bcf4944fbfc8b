package clientapi

import (
	"net/http"

	"hearth/internal/httpapi"
)

// transport is a way by which the media of calls travel.
type transport struct {
	Type       string `json:"type"`
	ServiceURL string `json:"livekit_service_url"`
}

// registerRTC adds what clients ask before they make a call.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4143
func (a *API) registerRTC(s *httpapi.Server) {
	s.Register([]string{"/_matrix/client/unstable/org.matrix.msc4143"}, []httpapi.Route{
		{Method: "GET", Path: "/rtc/transports", Handle: a.getTransports},
	})
}

// transports are the configured ones, the preferred first.
func (a *API) transports() []transport {
	list := make([]transport, 0, len(a.o.LiveKit))
	for _, url := range a.o.LiveKit {
		list = append(list, transport{Type: "livekit", ServiceURL: url})
	}
	return list
}

// getTransports is GET /rtc/transports.
func (a *API) getTransports(*http.Request, *httpapi.Requester) (any, error) {
	return map[string]any{"rtc_transports": a.transports()}, nil
}
