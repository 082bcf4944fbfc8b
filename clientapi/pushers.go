package clientapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"hearth/internal/httpapi"
	"hearth/storage"
)

func (a *API) pusherRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/pushers", Handle: a.getPushers},
		{Method: "POST", Path: "/pushers/set", Rate: httpapi.RateMessage, Handle: a.postPusher},
		{Method: "GET", Path: "/notifications", Rate: httpapi.RateExpensive, Handle: a.getNotifications},
	}
}

// pusher is a pusher in the format of clients.
type pusher struct {
	Kind              string          `json:"kind"`
	AppID             string          `json:"app_id"`
	Pushkey           string          `json:"pushkey"`
	AppDisplayName    string          `json:"app_display_name"`
	DeviceDisplayName string          `json:"device_display_name"`
	ProfileTag        string          `json:"profile_tag,omitempty"`
	Lang              string          `json:"lang"`
	Data              json.RawMessage `json:"data"`
}

// getPushers answers GET /_matrix/client/v3/pushers.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3pushers
func (a *API) getPushers(r *http.Request, u *httpapi.Requester) (any, error) {
	list, err := a.db.ListPushers(r.Context(), u.UserID)
	if err != nil {
		return nil, err
	}
	pushers := make([]pusher, len(list))
	for i, p := range list {
		pushers[i] = pusher{Kind: "http", AppID: p.AppID, Pushkey: p.Pushkey, AppDisplayName: p.AppDisplayName,
			DeviceDisplayName: p.DeviceDisplayName, ProfileTag: p.ProfileTag, Lang: p.Lang, Data: p.Data}
	}
	return map[string]any{"pushers": pushers}, nil
}

// The lengths of what a pusher consists of, in bytes.
const (
	maxPushkey, maxAppID          = 512, 64
	maxPusherText, maxPusherData  = 255, 4096
	maxProfileTag, maxPusherShort = 32, 32
)

// pusherRequest is the body of POST /pushers/set.
type pusherRequest struct {
	Kind              json.RawMessage `json:"kind"`
	AppID             *string         `json:"app_id"`
	Pushkey           *string         `json:"pushkey"`
	AppDisplayName    *string         `json:"app_display_name"`
	DeviceDisplayName *string         `json:"device_display_name"`
	ProfileTag        string          `json:"profile_tag"`
	Lang              *string         `json:"lang"`
	Data              json.RawMessage `json:"data"`
	Append            bool            `json:"append"`
}

// postPusher answers POST /_matrix/client/v3/pushers/set.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset
func (a *API) postPusher(r *http.Request, u *httpapi.Requester) (any, error) {
	var body pusherRequest
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	remove := string(body.Kind) == "null"
	if err := body.check(remove); err != nil {
		return nil, err
	}
	key := storage.PusherKey{UserID: u.UserID, AppID: *body.AppID, Pushkey: *body.Pushkey}
	if remove {
		return nil, a.db.DeletePusher(r.Context(), key)
	}
	err := a.o.Pushers.Set(r.Context(), storage.Pusher{
		PusherKey: key, DeviceID: u.DeviceID, AppDisplayName: *body.AppDisplayName, DeviceDisplayName: *body.DeviceDisplayName,
		ProfileTag: body.ProfileTag, Lang: *body.Lang, Data: body.Data,
	}, body.Append)
	if errors.Is(err, storage.ErrTooMany) {
		return nil, httpapi.LimitReached("You have too many pushers")
	}
	return nil, err
}

// check looks whether all is there, and short enough.
func (b *pusherRequest) check(remove bool) error {
	type field struct {
		name  string
		value *string
		most  int
	}
	fields := []field{{"app_id", b.AppID, maxAppID}, {"pushkey", b.Pushkey, maxPushkey}}
	var missing []string
	if b.Kind == nil {
		missing = append(missing, "kind")
	}
	if !remove {
		if b.Data == nil {
			missing = append(missing, "data")
		}
		fields = append(fields, field{"app_display_name", b.AppDisplayName, maxPusherText},
			field{"device_display_name", b.DeviceDisplayName, maxPusherText}, field{"lang", b.Lang, maxPusherShort},
			field{"profile_tag", &b.ProfileTag, maxProfileTag})
	}
	for _, f := range fields {
		if f.value == nil {
			missing = append(missing, f.name)
		}
	}
	if len(missing) > 0 {
		return httpapi.MissingParam("Missing parameters: %s", strings.Join(missing, ", "))
	}
	for _, f := range fields {
		if len(*f.value) > f.most {
			return httpapi.InvalidParam("%s is longer than %d bytes", f.name, f.most)
		}
	}
	switch {
	case *b.AppID == "" || *b.Pushkey == "":
		return httpapi.InvalidParam("app_id and pushkey must not be empty")
	case strings.ContainsRune(*b.AppID+*b.Pushkey, 0):
		return httpapi.InvalidParam("app_id and pushkey must not hold a zero byte")
	case !remove && string(b.Kind) != `"http"`:
		return httpapi.InvalidParam("This server has pushers of the kind http only")
	case len(b.Data) > maxPusherData:
		return httpapi.InvalidParam("data is longer than %d bytes", maxPusherData)
	}
	return nil
}
