// Package publicrooms answers requests for the room directory, which users and
// servers make in the same form.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3publicrooms
package publicrooms

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	// maxRooms bounds one page of the directory, maxSearchTerm the term in bytes.
	maxRooms      = 500
	maxSearchTerm = 255
	maxRoomTypes  = 100
)

// Query is the body of POST /publicRooms.
type Query struct {
	Limit  *int   `json:"limit,omitempty"`
	Since  string `json:"since,omitempty"`
	Filter struct {
		SearchTerm string    `json:"generic_search_term,omitempty"`
		RoomTypes  []*string `json:"room_types,omitempty"`
	} `json:"filter"`
	IncludeAllNetworks   bool   `json:"include_all_networks,omitempty"`
	ThirdPartyInstanceID string `json:"third_party_instance_id,omitempty"`
}

// FromURL reads the query of GET /publicRooms.
func FromURL(r *http.Request) (*Query, error) {
	q := &Query{Since: r.URL.Query().Get("since"), ThirdPartyInstanceID: r.URL.Query().Get("third_party_instance_id")}
	var err error
	if q.IncludeAllNetworks, err = httpapi.BoolParam(r, "include_all_networks", false); err != nil {
		return nil, err
	}
	if text := r.URL.Query().Get("limit"); text != "" {
		limit, err := strconv.Atoi(text)
		if err != nil {
			return nil, httpapi.InvalidParam("limit must be a number")
		}
		q.Limit = &limit
	}
	return q, nil
}

// Page is an answer.
type Page struct {
	Chunk []Room `json:"chunk"`
	Total int    `json:"total_room_count_estimate"`
	Next  string `json:"next_batch,omitempty"`
	Prev  string `json:"prev_batch,omitempty"`
}

// Find returns what the query asks for, as it is answered. A wrong query is an
// *httpapi.Error.
func Find(ctx context.Context, db *storage.DB, q *Query) (*Page, error) {
	d, err := q.check()
	if err != nil {
		return nil, err
	}
	if q.ThirdPartyInstanceID != "" {
		return &Page{Chunk: []Room{}}, nil // no room here belongs to another network
	}
	found, total, err := db.PublishedRooms(ctx, d)
	if err != nil {
		return nil, err
	}
	answer := &Page{Chunk: make([]Room, 0, len(found)), Total: total}
	for _, p := range found {
		answer.Chunk = append(answer.Chunk, NewRoom(p.RoomID, &p.RoomSummary))
	}
	if next := d.Offset + len(found); len(found) > 0 && next < total {
		answer.Next = token(next)
	}
	if d.Offset > 0 {
		answer.Prev = token(max(0, d.Offset-d.Limit))
	}
	return answer, nil
}

func (q *Query) check() (d storage.DirectoryQuery, err error) {
	d = storage.DirectoryQuery{Search: q.Filter.SearchTerm, Limit: maxRooms}
	if len(d.Search) > maxSearchTerm || !httpapi.IsText(d.Search) {
		return d, httpapi.InvalidParam("The search term isn't text of at most %d bytes", maxSearchTerm)
	}
	if len(q.Filter.RoomTypes) > maxRoomTypes {
		return d, httpapi.InvalidParam("There are more than %d room types", maxRoomTypes)
	}
	if q.Limit != nil && *q.Limit < 0 {
		return d, httpapi.InvalidParam("limit must not be negative")
	}
	if q.Limit != nil && *q.Limit > 0 {
		d.Limit = min(*q.Limit, maxRooms)
	}
	if q.IncludeAllNetworks && q.ThirdPartyInstanceID != "" {
		return d, httpapi.InvalidParam("third_party_instance_id names a network: include_all_networks must be false then")
	}
	for _, t := range q.Filter.RoomTypes {
		if t == nil {
			t = new(string) // rooms without a type
		}
		d.RoomTypes = append(d.RoomTypes, *t)
	}
	var ok bool
	if d.Offset, ok = parseToken(q.Since); !ok {
		return d, httpapi.InvalidParam("since is no token of this server's")
	}
	return d, nil
}

// token names a page of the directory: by how many rooms come before it.
func token(offset int) string { return "p" + strconv.Itoa(offset) }

func parseToken(token string) (offset int, ok bool) {
	if token == "" {
		return 0, true
	}
	text, ok := strings.CutPrefix(token, "p")
	offset, err := strconv.Atoi(text)
	return offset, ok && err == nil && offset >= 0 && offset < 1<<31
}
