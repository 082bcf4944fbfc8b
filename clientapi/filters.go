package clientapi

import (
	"errors"
	"net/http"

	"hearth/internal/canonicaljson"
	"hearth/internal/httpapi"
	"hearth/storage"
)

// maxFilter bounds a filter, in bytes.
const maxFilter = 64 << 10

func (a *API) filterRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "POST", Path: "/user/{userId}/filter", MaxBody: maxFilter, Handle: a.postFilter},
		{Method: "GET", Path: "/user/{userId}/filter/{filterId}", Handle: a.getFilter},
	}
}

// filterShape is what a filter must look like to be stored; what it means is
// found out when it is used.
type filterShape struct {
	EventFields []string    `json:"event_fields"`
	EventFormat *string     `json:"event_format"`
	Presence    eventFilter `json:"presence"`
	AccountData eventFilter `json:"account_data"`
	Room        struct {
		Rooms        []string        `json:"rooms"`
		NotRooms     []string        `json:"not_rooms"`
		IncludeLeave bool            `json:"include_leave"`
		Ephemeral    roomEventFilter `json:"ephemeral"`
		State        roomEventFilter `json:"state"`
		Timeline     roomEventFilter `json:"timeline"`
		AccountData  roomEventFilter `json:"account_data"`
	} `json:"room"`
}

type eventFilter struct {
	Limit      int64    `json:"limit"`
	Senders    []string `json:"senders"`
	NotSenders []string `json:"not_senders"`
	Types      []string `json:"types"`
	NotTypes   []string `json:"not_types"`
}

type roomEventFilter struct {
	eventFilter
	Rooms                     []string `json:"rooms"`
	NotRooms                  []string `json:"not_rooms"`
	ContainsURL               *bool    `json:"contains_url"`
	LazyLoadMembers           bool     `json:"lazy_load_members"`
	IncludeRedundantMembers   bool     `json:"include_redundant_members"`
	UnreadThreadNotifications bool     `json:"unread_thread_notifications"`
}

// ownFilters refuses requests for the filters of somebody else.
func ownFilters(r *http.Request, u *httpapi.Requester) error {
	if httpapi.Var(r, "userId") != u.UserID {
		return httpapi.Forbidden("You can only use your own filters")
	}
	return nil
}

// postFilter is POST /user/{userId}/filter. The same filter always has the same
// id.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
func (a *API) postFilter(r *http.Request, u *httpapi.Requester) (any, error) {
	if err := ownFilters(r, u); err != nil {
		return nil, err
	}
	body, err := httpapi.ReadJSON(r)
	if err != nil {
		return nil, err
	}
	var shape filterShape
	if err := httpapi.Unmarshal(body, &shape); err != nil {
		return nil, err
	}
	if f := shape.EventFormat; f != nil && *f != "client" && *f != "federation" {
		return nil, httpapi.BadJSON("event_format must be client or federation")
	}
	canonical, err := canonicaljson.Append(nil, body)
	if err != nil {
		return nil, httpapi.BadJSON("The filter is not canonical JSON: %s", err)
	}
	id, err := a.db.PutFilter(r.Context(), u.UserID, canonical)
	if errors.Is(err, storage.ErrTooManyFilters) {
		return nil, httpapi.New(http.StatusBadRequest, "M_RESOURCE_LIMIT_EXCEEDED", "A user can have at most %d filters", storage.MaxFilters)
	}
	if err != nil {
		return nil, err
	}
	return map[string]string{"filter_id": id}, nil
}

// getFilter is GET /user/{userId}/filter/{filterId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridfilterfilterid
func (a *API) getFilter(r *http.Request, u *httpapi.Requester) (any, error) {
	if err := ownFilters(r, u); err != nil {
		return nil, err
	}
	content, err := a.db.GetFilter(r.Context(), u.UserID, httpapi.Var(r, "filterId"))
	if errors.Is(err, storage.ErrNotFound) {
		return nil, httpapi.NotFound("Unknown filter")
	}
	return httpapi.Raw(content), err
}
