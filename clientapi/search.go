package clientapi

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"

	"github.com/tidwall/gjson"

	"hearth/internal/filter"
	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/search"
	"hearth/storage"
)

func (a *API) searchRoutes() []httpapi.Route {
	return []httpapi.Route{{Method: "POST", Path: "/search", Rate: httpapi.RateExpensive, Handle: a.postSearch}}
}

const (
	// maxSearchTerm bounds what is searched for, in bytes.
	maxSearchTerm = 1000
	// maxResults bounds the results of a page.
	maxResults = 100
	// maxContext bounds the events around a result, on either side.
	maxContext = 20
	// maxPredecessors bounds the rooms that a room has replaced one after the other.
	maxPredecessors = 20
)

// searchCriteria are what room events are searched by.
type searchCriteria struct {
	Term         *string            `json:"search_term"`
	Keys         []string           `json:"keys"`
	Filter       *filter.RoomEvents `json:"filter"`
	OrderBy      string             `json:"order_by"`
	Context      *searchContext     `json:"event_context"`
	IncludeState bool               `json:"include_state"`
	Groupings    struct {
		GroupBy []struct {
			Key string `json:"key"`
		} `json:"group_by"`
	} `json:"groupings"`
}

type searchContext struct {
	Before         *int `json:"before_limit"`
	After          *int `json:"after_limit"`
	IncludeProfile bool `json:"include_profile"`
}

// searchToken says where a search goes on: what it found up to a place, after so many,
// perhaps of one group alone.
type searchToken struct {
	UpTo   storage.Place `json:"u"`
	Offset int           `json:"o"`
	Group  string        `json:"g,omitempty"`
	Value  string        `json:"v,omitempty"`
}

// postSearch answers POST /_matrix/client/v3/search.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3search
func (a *API) postSearch(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Categories *struct {
			RoomEvents *searchCriteria `json:"room_events"`
		} `json:"search_categories"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if a.o.Search == nil {
		return nil, httpapi.New(http.StatusBadRequest, "M_UNKNOWN", "The search is turned off on this server")
	}
	if body.Categories == nil {
		return nil, httpapi.MissingParam("search_categories is missing")
	}
	c := body.Categories.RoomEvents
	if c == nil {
		return httpapi.Raw(`{"search_categories":{}}`), nil
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	from := searchToken{UpTo: storage.Place{Position: a.db.Stream.Position(), Sub: math.MaxInt32}}
	if text := r.URL.Query().Get("next_batch"); text != "" {
		if err := parseSearchToken(text, &from); err != nil {
			return nil, err
		}
	}
	rooms, err := a.searchedRooms(r.Context(), u.UserID, c.Filter)
	if err != nil {
		return nil, err
	}
	ignored, err := a.ignored(r.Context(), u.UserID)
	if err != nil {
		return nil, err
	}
	q := &search.Query{UserID: u.UserID, Text: *c.Term, Keys: c.Keys, Rooms: rooms, UpTo: from.UpTo, Wanted: c.wanted(from, ignored)}
	found, err := a.o.Search.Find(r.Context(), q)
	if err != nil {
		return nil, err
	}
	return (&searchAnswer{a: a, r: r, to: reader(u), c: c, from: from, found: found, ignored: ignored}).whole()
}

// check makes sure that the criteria are right, and fills in what was left out.
func (c *searchCriteria) check() error {
	if c.Term == nil {
		return httpapi.MissingParam("search_term is missing")
	}
	if err := checkText("search term", *c.Term, maxSearchTerm); err != nil {
		return err
	}
	if c.Keys == nil {
		c.Keys = []string{"content.body", "content.name", "content.topic"}
	}
	for _, key := range c.Keys {
		if !search.Valid(key) {
			return httpapi.InvalidParam("%q can't be searched", key)
		}
	}
	if c.Filter == nil {
		c.Filter = &filter.RoomEvents{}
	}
	if err := c.Filter.Check(); err != nil {
		return httpapi.InvalidParam("The filter is invalid: %v", err)
	}
	if c.Filter.Limit != nil && *c.Filter.Limit == 0 {
		return httpapi.InvalidParam("The filter's limit must be greater than 0")
	}
	if c.OrderBy == "" {
		c.OrderBy = "rank"
	}
	if c.OrderBy != "rank" && c.OrderBy != "recent" {
		return httpapi.InvalidParam("order_by must be rank or recent")
	}
	for _, g := range c.Groupings.GroupBy {
		if g.Key != "room_id" && g.Key != "sender" {
			return httpapi.InvalidParam("Results can't be grouped by %q", g.Key)
		}
	}
	return nil
}

func parseSearchToken(text string, t *searchToken) error {
	raw, err := tokenText.DecodeString(text)
	if err != nil || json.Unmarshal(raw, t) != nil || t.Offset < 0 || t.UpTo.Position < 0 || t.Group != "" && t.Group != "room_id" && t.Group != "sender" {
		return httpapi.InvalidParam("next_batch is no token of this endpoint's")
	}
	return nil
}

// limit is how many results a page has.
func (c *searchCriteria) limit() int {
	if c.Filter.Limit == nil {
		return defaultPage
	}
	return min(*c.Filter.Limit, maxResults)
}

// wanted narrows what is found by what the filter says beside rooms, and to the group
// of a token, without what those said who are ignored. Rooms are chosen before, with those that they
// have replaced.
func (c *searchCriteria) wanted(t searchToken, ignored ignoredUsers) func(*storage.Event) bool {
	f := *c.Filter
	f.Rooms, f.NotRooms = nil, nil
	return func(e *storage.Event) bool {
		return f.Matches(e) && (t.Group == "" || groupOf(e, t.Group) == t.Value) && !ignored.hide(e)
	}
}

func groupOf(e *storage.Event, key string) string {
	if key == "sender" {
		return e.Sender
	}
	return e.RoomID
}

// searchedRooms are the rooms that the user is or was in and hasn't forgotten, as far as
// the filter lets them pass, and those that they have replaced.
func (a *API) searchedRooms(ctx context.Context, userID string, f *filter.RoomEvents) ([]int64, error) {
	memberships, err := a.db.UserMemberships(ctx, userID)
	if err != nil {
		return nil, err
	}
	were := map[string]int64{}
	for _, m := range memberships {
		if !m.Forgotten && m.Membership != "invite" && m.Membership != "knock" {
			were[m.RoomID] = m.RoomNID
		}
	}
	wanted := map[string]bool{}
	for id := range were {
		if !f.MatchesRoom(id) {
			continue
		}
		wanted[id] = true
		if f.Rooms == nil {
			continue
		}
		if err := a.addPredecessors(ctx, id, wanted); err != nil {
			return nil, err
		}
	}
	var nids []int64
	for id := range wanted {
		if nid, ok := were[id]; ok && !slices.Contains(f.NotRooms, id) {
			nids = append(nids, nid)
		}
	}
	return nids, nil
}

// addPredecessors adds the rooms that a room has replaced.
func (a *API) addPredecessors(ctx context.Context, roomID string, rooms map[string]bool) error {
	for range maxPredecessors {
		v, err := a.rooms.View(ctx, roomID)
		if errors.Is(err, roomserver.ErrUnknownRoom) {
			return nil
		}
		if err != nil {
			return err
		}
		create, err := a.rooms.StateEvent(ctx, v, "m.room.create", "")
		if err != nil || create == nil {
			return err
		}
		roomID = gjson.GetBytes(create.JSON, "content.predecessor.room_id").Str
		if roomID == "" || rooms[roomID] {
			return nil
		}
		rooms[roomID] = true
	}
	return nil
}
