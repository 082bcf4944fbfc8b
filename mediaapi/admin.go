package mediaapi

import (
	"errors"
	"net/http"
	"time"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// This file and the other admin_ ones are the part of Synapse's admin API that is about
// media, so that tools made for it work here too.

const (
	// defaultPage and maxAdminPage bound the lists that administrators see.
	defaultPage, maxAdminPage = 100, 1000
	// maxRoomMedia bounds the media of a room that are listed or quarantined by one request.
	maxRoomMedia = 100_000
)

func (a *API) adminRoutes() []httpapi.Route {
	routes := []httpapi.Route{
		{Method: "GET", Path: "/media/{serverName}/{mediaId}", Handle: a.adminGetMedia},
		{Method: "DELETE", Path: "/media/{serverName}/{mediaId}", Handle: a.adminDeleteOne},
		{Method: "POST", Path: "/media/quarantine/{serverName}/{mediaId}", Handle: a.adminQuarantine},
		{Method: "POST", Path: "/media/unquarantine/{serverName}/{mediaId}", Handle: a.adminUnquarantine},
		{Method: "POST", Path: "/media/protect/{mediaId}", Handle: a.adminProtect(true)},
		{Method: "POST", Path: "/media/unprotect/{mediaId}", Handle: a.adminProtect(false)},
		{Method: "POST", Path: "/media/delete", Handle: a.adminDeleteLocal},
		{Method: "POST", Path: "/media/{serverName}/delete", Handle: a.adminDeleteLocal},
		{Method: "POST", Path: "/purge_media_cache", Handle: a.adminPurgeCache},
		{Method: "GET", Path: "/room/{roomId}/media", Handle: a.adminRoomMedia},
		{Method: "POST", Path: "/room/{roomId}/media/quarantine", Handle: a.adminQuarantineRoom},
		{Method: "POST", Path: "/quarantine_media/{roomId}", Handle: a.adminQuarantineRoom},
		{Method: "POST", Path: "/user/{userId}/media/quarantine", Handle: a.adminQuarantineUser},
		{Method: "GET", Path: "/users/{userId}/media", Handle: a.adminUserMedia},
		{Method: "DELETE", Path: "/users/{userId}/media", Handle: a.adminDeleteUserMedia},
		{Method: "GET", Path: "/statistics/users/media", Handle: a.adminTotals},
	}
	return httpapi.ForAdmins(routes)
}

// uri is the media that the request's path names.
func uri(r *http.Request) storage.MediaURI {
	return storage.MediaURI{Origin: httpapi.Var(r, "serverName"), ID: httpapi.Var(r, "mediaId")}
}

func (a *API) adminQuarantine(r *http.Request, u *httpapi.Requester) (any, error) {
	_, err := a.db.QuarantineMedia(r.Context(), []storage.MediaURI{uri(r)}, u.UserID)
	return nil, err
}

func (a *API) adminUnquarantine(r *http.Request, _ *httpapi.Requester) (any, error) {
	_, err := a.db.QuarantineMedia(r.Context(), []storage.MediaURI{uri(r)}, "")
	return nil, err
}

func (a *API) adminQuarantineUser(r *http.Request, u *httpapi.Requester) (any, error) {
	n, err := a.db.QuarantineUserMedia(r.Context(), httpapi.Var(r, "userId"), u.UserID)
	return map[string]int64{"num_quarantined": n}, err
}

func (a *API) adminQuarantineRoom(r *http.Request, u *httpapi.Requester) (any, error) {
	all, err := a.roomMedia(r)
	if err != nil {
		return nil, err
	}
	n, err := a.db.QuarantineMedia(r.Context(), all, u.UserID)
	return map[string]int64{"num_quarantined": n}, err
}

// roomMedia are the media that events of the room in the request's path name in the open.
func (a *API) roomMedia(r *http.Request) ([]storage.MediaURI, error) {
	if err := FollowMentions(r.Context(), a.db); err != nil {
		return nil, err
	}
	return a.db.RoomMedia(r.Context(), httpapi.Var(r, "roomId"), maxRoomMedia)
}

func (a *API) adminRoomMedia(r *http.Request, _ *httpapi.Requester) (any, error) {
	all, err := a.roomMedia(r)
	if err != nil {
		return nil, err
	}
	local, remote := []string{}, []string{}
	for _, u := range all {
		if u.Origin == a.serverName {
			local = append(local, u.String())
		} else {
			remote = append(remote, u.String())
		}
	}
	return map[string][]string{"local": local, "remote": remote}, nil
}

func (a *API) adminProtect(protected bool) func(*http.Request, *httpapi.Requester) (any, error) {
	return func(r *http.Request, _ *httpapi.Requester) (any, error) {
		err := a.db.ProtectMedia(r.Context(), a.serverName, httpapi.Var(r, "mediaId"), protected)
		if errors.Is(err, storage.ErrNotFound) {
			return nil, errNoMedia()
		}
		return nil, err
	}
}

func (a *API) adminGetMedia(r *http.Request, _ *httpapi.Requester) (any, error) {
	if err := FollowMentions(r.Context(), a.db); err != nil {
		return nil, err
	}
	d, err := a.db.MediaDetails(r.Context(), httpapi.Var(r, "serverName"), httpapi.Var(r, "mediaId"))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, errNoMedia()
	}
	if err != nil {
		return nil, err
	}
	info := details(d)
	info["media_origin"], info["user_id"], info["mentions"] = d.Origin, nullable(d.UserID), d.Mentions
	return map[string]any{"media_info": info}, nil
}

func details(d *storage.MediaDetails) map[string]any {
	return map[string]any{
		"media_id": d.ID, "media_type": d.ContentType, "media_length": d.Size, "upload_name": nullable(d.Filename),
		"created_ts": d.Created.UnixMilli(), "last_access_ts": d.LastAccess.UnixMilli(),
		"quarantined_by": nullable(d.QuarantinedBy), "safe_from_quarantine": d.Protected,
	}
}

// nullable is null for "".
func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// timeParam is a time of the query in milliseconds, the zero time for none.
func timeParam(r *http.Request, name string) (time.Time, error) {
	ms, err := httpapi.IntParam(r, name, 0, 0)
	if err != nil || ms == 0 {
		return time.Time{}, err
	}
	return time.UnixMilli(min(int64(ms), 253402300799000)), nil // the year 9999
}
