package federationapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"hearth/internal/httpapi"
	"hearth/storage"
)

func (a *API) directoryRoutes() []httpapi.Route {
	return []httpapi.Route{
		a.signed("GET", "/publicRooms", a.getPublicRooms),
		a.signed("POST", "/publicRooms", a.postPublicRooms),
	}
}

const (
	// maxPublicRooms bounds one page of the directory, maxSearchTerm the term in bytes.
	maxPublicRooms = 500
	maxSearchTerm  = 255
	maxRoomTypes   = 100
)

// publicRoomsQuery is the body of POST /publicRooms.
type publicRoomsQuery struct {
	Limit  *int   `json:"limit"`
	Since  string `json:"since"`
	Filter struct {
		SearchTerm string    `json:"generic_search_term"`
		RoomTypes  []*string `json:"room_types"`
	} `json:"filter"`
}

// getPublicRooms is GET /publicRooms.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1publicrooms
func (a *API) getPublicRooms(r *http.Request, _ string, _ json.RawMessage) (any, error) {
	q := publicRoomsQuery{Since: one(r, "since")}
	if text := one(r, "limit"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil {
			return nil, httpapi.InvalidParam("limit must be a number")
		}
		q.Limit = &limit
	}
	return a.publicRooms(r, &q)
}

// postPublicRooms is POST /publicRooms.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1publicrooms
func (a *API) postPublicRooms(r *http.Request, _ string, body json.RawMessage) (any, error) {
	var q publicRoomsQuery
	if body != nil {
		if err := httpapi.Unmarshal(body, &q); err != nil {
			return nil, err
		}
	}
	return a.publicRooms(r, &q)
}

func (a *API) publicRooms(r *http.Request, q *publicRoomsQuery) (any, error) {
	d, err := directoryQuery(q)
	if err != nil {
		return nil, err
	}
	rooms, total, err := a.db.PublishedRooms(r.Context(), d)
	if err != nil {
		return nil, err
	}
	chunk := make([]publicRoom, 0, len(rooms))
	for _, p := range rooms {
		chunk = append(chunk, newPublicRoom(p))
	}
	answer := map[string]any{"chunk": chunk, "total_room_count_estimate": total}
	if next := d.Offset + len(rooms); len(rooms) > 0 && next < total {
		answer["next_batch"] = "p" + strconv.Itoa(next)
	}
	if d.Offset > 0 {
		answer["prev_batch"] = "p" + strconv.Itoa(max(0, d.Offset-d.Limit))
	}
	return answer, nil
}

// directoryQuery checks what another server wants of the directory.
func directoryQuery(q *publicRoomsQuery) (storage.DirectoryQuery, error) {
	d := storage.DirectoryQuery{Search: q.Filter.SearchTerm, Limit: maxPublicRooms}
	if len(d.Search) > maxSearchTerm || !httpapi.IsText(d.Search) {
		return d, httpapi.InvalidParam("The search term isn't text of at most %d bytes", maxSearchTerm)
	}
	if len(q.Filter.RoomTypes) > maxRoomTypes {
		return d, httpapi.InvalidParam("There are more than %d room types", maxRoomTypes)
	}
	if q.Limit != nil {
		if *q.Limit < 0 {
			return d, httpapi.InvalidParam("limit must not be negative")
		}
		d.Limit = min(*q.Limit, maxPublicRooms)
	}
	for _, t := range q.Filter.RoomTypes {
		if t == nil {
			t = new(string) // rooms without a type
		}
		d.RoomTypes = append(d.RoomTypes, *t)
	}
	if q.Since != "" {
		text, ok := strings.CutPrefix(q.Since, "p")
		offset, err := strconv.ParseInt(text, 10, 32)
		if !ok || err != nil || offset < 0 {
			return d, httpapi.InvalidParam("since is no token of this server's")
		}
		d.Offset = int(offset)
	}
	return d, nil
}

// publicRoom is a room as the directory shows it.
type publicRoom struct {
	RoomID         string `json:"room_id"`
	Name           string `json:"name,omitempty"`
	Topic          string `json:"topic,omitempty"`
	CanonicalAlias string `json:"canonical_alias,omitempty"`
	AvatarURL      string `json:"avatar_url,omitempty"`
	JoinRule       string `json:"join_rule,omitempty"`
	RoomType       string `json:"room_type,omitempty"`
	JoinedMembers  int    `json:"num_joined_members"`
	WorldReadable  bool   `json:"world_readable"`
	GuestCanJoin   bool   `json:"guest_can_join"`
}

func newPublicRoom(p storage.PublishedRoom) publicRoom {
	return publicRoom{
		RoomID: p.RoomID, Name: p.Name, Topic: p.Topic, CanonicalAlias: p.CanonicalAlias, AvatarURL: p.AvatarURL,
		JoinRule: p.JoinRule, RoomType: p.RoomType, JoinedMembers: p.JoinedMembers,
		WorldReadable: p.HistoryVisibility == "world_readable", GuestCanJoin: p.GuestCanJoin,
	}
}
