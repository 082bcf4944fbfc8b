package clientapi

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

func (a *API) directoryRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/publicRooms", Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.getPublicRooms},
		{Method: "POST", Path: "/publicRooms", Rate: httpapi.RateExpensive, Handle: a.postPublicRooms},
		{Method: "GET", Path: "/directory/list/room/{roomId}", Auth: httpapi.AuthNone, Handle: a.getListed},
		{Method: "PUT", Path: "/directory/list/room/{roomId}", Handle: a.putListed},
	}
}

// maxPublicRooms bounds one page of the directory.
const maxPublicRooms = 500

// publicRoomsQuery is the body of POST /publicRooms.
type publicRoomsQuery struct {
	Limit  *int   `json:"limit"`
	Since  string `json:"since"`
	Server string `json:"-"`
	Filter struct {
		GenericSearchTerm string    `json:"generic_search_term"`
		RoomTypes         []*string `json:"room_types"`
	} `json:"filter"`
	IncludeAllNetworks   bool   `json:"include_all_networks"`
	ThirdPartyInstanceID string `json:"third_party_instance_id"`
}

// getPublicRooms answers GET /_matrix/client/v3/publicRooms.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3publicrooms
func (a *API) getPublicRooms(r *http.Request, _ *httpapi.Requester) (any, error) {
	var q publicRoomsQuery
	if text := r.URL.Query().Get("limit"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil {
			return nil, httpapi.InvalidParam("limit must be a number")
		}
		q.Limit = &limit
	}
	q.Since, q.Server = r.URL.Query().Get("since"), r.URL.Query().Get("server")
	return a.publicRooms(r, &q)
}

// postPublicRooms answers POST /_matrix/client/v3/publicRooms.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms
func (a *API) postPublicRooms(r *http.Request, _ *httpapi.Requester) (any, error) {
	var q publicRoomsQuery
	if err := httpapi.DecodeOptionalJSON(r, &q); err != nil {
		return nil, err
	}
	q.Server = r.URL.Query().Get("server")
	return a.publicRooms(r, &q)
}

func (a *API) publicRooms(r *http.Request, q *publicRoomsQuery) (any, error) {
	if q.Server != "" && q.Server != a.serverName {
		return nil, httpapi.NotFound("This server doesn't federate yet: it only knows its own rooms")
	}
	d := storage.DirectoryQuery{Search: q.Filter.GenericSearchTerm, Limit: maxPublicRooms}
	if len(d.Search) > 255 || !isText(d.Search) {
		return nil, httpapi.InvalidParam("The search term isn't text of at most 255 bytes")
	}
	if q.Limit != nil {
		if *q.Limit < 0 {
			return nil, httpapi.InvalidParam("limit must not be negative")
		}
		d.Limit = min(*q.Limit, maxPublicRooms)
	}
	for _, t := range q.Filter.RoomTypes {
		if t == nil {
			t = new(string)
		}
		d.RoomTypes = append(d.RoomTypes, *t)
	}
	var ok bool
	if d.Offset, ok = parsePage(q.Since); !ok {
		return nil, httpapi.InvalidParam("since is no token of this server's")
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
		answer["next_batch"] = page(next)
	}
	if d.Offset > 0 {
		answer["prev_batch"] = page(max(0, d.Offset-d.Limit))
	}
	return answer, nil
}

// page is the token of a page of the directory: how many rooms come before it.
func page(offset int) string { return "p" + strconv.Itoa(offset) }

func parsePage(token string) (offset int, ok bool) {
	if token == "" {
		return 0, true
	}
	text, ok := strings.CutPrefix(token, "p")
	offset, err := strconv.Atoi(text)
	return offset, ok && err == nil && offset >= 0 && offset < 1<<31
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

// listed returns the room in the path for the directory's own requests, to which
// an unknown room is simply not there.
func (a *API) listed(r *http.Request) (*roomserver.View, error) {
	v, err := a.rooms.View(r.Context(), httpapi.Var(r, "roomId"))
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, httpapi.NotFound("There is no such room")
	}
	return v, err
}

// getListed answers GET /_matrix/client/v3/directory/list/room/{roomId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3directorylistroomroomid
func (a *API) getListed(r *http.Request, _ *httpapi.Requester) (any, error) {
	v, err := a.listed(r)
	if err != nil {
		return nil, err
	}
	published, err := a.db.IsPublished(r.Context(), v.Room.NID)
	return map[string]string{"visibility": map[bool]string{true: "public", false: "private"}[published]}, err
}

// putListed answers PUT /_matrix/client/v3/directory/list/room/{roomId}: for who
// may name the room's aliases, and administrators.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3directorylistroomroomid
func (a *API) putListed(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Visibility string `json:"visibility"`
	}
	if err := httpapi.DecodeOptionalJSON(r, &body); err != nil {
		return nil, err
	}
	if body.Visibility == "" {
		body.Visibility = "public"
	}
	if body.Visibility != "public" && body.Visibility != "private" {
		return nil, httpapi.InvalidParam("visibility must be public or private")
	}
	v, err := a.listed(r)
	if err != nil {
		return nil, err
	}
	powers, err := a.rooms.PowerLevels(r.Context(), v)
	if err != nil {
		return nil, err
	}
	allowed := v.Membership(u.UserID) == "join" && powers.Of(u.UserID) >= powers.State("m.room.canonical_alias")
	if !allowed && !u.Admin {
		return nil, httpapi.Forbidden("You may not change whether the room is listed")
	}
	return nil, a.db.SetPublished(r.Context(), v.Room.NID, body.Visibility == "public")
}
