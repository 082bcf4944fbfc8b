package federationapi

import (
	"encoding/json"
	"net/http"

	"hearth/internal/httpapi"
)

// Media answers for this server's media.
type Media struct {
	Download, Thumbnail func(r *http.Request) (any, error)
}

// mediaRoutes are those by which other servers fetch media. Who they show it to is up
// to them.
//
// https://spec.matrix.org/v1.19/server-server-api/#content-repository
func (a *API) mediaRoutes() []httpapi.Route {
	media := a.o.Media
	if media == nil {
		return nil
	}
	return []httpapi.Route{
		a.signed("GET", "/media/download/{mediaId}", func(r *http.Request, _ string, _ json.RawMessage) (any, error) { return media.Download(r) }),
		a.signed("GET", "/media/thumbnail/{mediaId}", func(r *http.Request, _ string, _ json.RawMessage) (any, error) { return media.Thumbnail(r) }),
	}
}
