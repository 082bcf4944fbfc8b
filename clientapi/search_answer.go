package clientapi

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"

	"github.com/tidwall/gjson"

	"hearth/internal/filter"
	"hearth/internal/token"
	"hearth/roomserver"
	"hearth/search"
	"hearth/storage"
)

var tokenText = base64.RawURLEncoding

func (t searchToken) String() string {
	text, _ := json.Marshal(t) // never fails: it has numbers and strings
	return tokenText.EncodeToString(text)
}

// searchAnswer is what was found, a page of which is answered.
type searchAnswer struct {
	a     *API
	r     *http.Request
	to    roomserver.Reader
	c     *searchCriteria
	from  searchToken
	found *search.Result
	// ignored are those whom the reader doesn't want to hear.
	ignored ignoredUsers
}

type searchResult struct {
	Rank    float64         `json:"rank"`
	Result  json.RawMessage `json:"result"`
	Context *eventContext   `json:"context,omitempty"`
}

type eventContext struct {
	Start   string                     `json:"start"`
	End     string                     `json:"end"`
	Before  json.RawMessage            `json:"events_before"`
	After   json.RawMessage            `json:"events_after"`
	Profile map[string]json.RawMessage `json:"profile_info,omitempty"`
}

type searchGroup struct {
	NextBatch string   `json:"next_batch,omitempty"`
	Order     int      `json:"order"`
	Results   []string `json:"results"`
}

type searchCategory struct {
	Count      int                                `json:"count"`
	Highlights []string                           `json:"highlights"`
	Results    []searchResult                     `json:"results"`
	State      map[string]json.RawMessage         `json:"state,omitempty"`
	Groups     map[string]map[string]*searchGroup `json:"groups,omitempty"`
	NextBatch  string                             `json:"next_batch,omitempty"`
}

func (s *searchAnswer) whole() (any, error) {
	all := s.found.Found
	if s.c.OrderBy == "rank" {
		search.ByRank(all)
	}
	page := all[min(s.from.Offset, len(all)):]
	page = page[:min(len(page), s.c.limit())]
	answer := searchCategory{Count: len(all), Highlights: append([]string{}, s.found.Highlights...), Results: []searchResult{}}
	for _, f := range page {
		result, err := s.result(f)
		if err != nil {
			return nil, err
		}
		answer.Results = append(answer.Results, *result)
	}
	next := s.from
	next.Offset += len(page)
	switch {
	case next.Offset >= len(all) && s.found.More && s.c.OrderBy == "recent":
		next.Offset, next.UpTo = 0, token.Before(s.found.End).After
		answer.NextBatch = next.String()
	case next.Offset < len(all), len(page) == s.c.limit(): // after a full page clients expect one more, perhaps empty
		answer.NextBatch = next.String()
	}
	s.group(&answer, all, page)
	if s.c.IncludeState {
		var err error
		if answer.State, err = s.state(page); err != nil {
			return nil, err
		}
	}
	return map[string]any{"search_categories": map[string]any{"room_events": answer}}, nil
}

// group sorts the page's results into the groups that are asked for. A group goes on
// after what it has on this page.
func (s *searchAnswer) group(answer *searchCategory, all, page []search.Found) {
	for _, by := range s.c.Groupings.GroupBy {
		total := map[string]int{}
		for _, f := range all {
			total[groupOf(f.Event, by.Key)]++
		}
		groups := map[string]*searchGroup{}
		for _, f := range page {
			value := groupOf(f.Event, by.Key)
			if groups[value] == nil {
				groups[value] = &searchGroup{Order: len(groups)}
			}
			groups[value].Results = append(groups[value].Results, f.Event.ID)
		}
		for value, g := range groups {
			next := searchToken{UpTo: s.from.UpTo, Offset: len(g.Results), Group: by.Key, Value: value}
			if s.from.Group == by.Key {
				next.Offset += s.from.Offset
			}
			if next.Offset < total[value] {
				g.NextBatch = next.String()
			}
		}
		if answer.Groups == nil {
			answer.Groups = map[string]map[string]*searchGroup{}
		}
		answer.Groups[by.Key] = groups
	}
}

func (s *searchAnswer) result(f search.Found) (*searchResult, error) {
	h := &history{a: s.a, v: f.View, vis: f.Visibility, filter: &filter.RoomEvents{}, to: s.to, ignored: s.ignored, local: true}
	text, err := h.append(s.r.Context(), nil, []*storage.Event{f.Event})
	if err != nil {
		return nil, err
	}
	r := &searchResult{Rank: f.Rank, Result: text[1 : len(text)-1]}
	if s.c.Context != nil {
		r.Context, err = s.context(h, f.Event)
	}
	return r, err
}

// context is what was said around a result.
func (s *searchAnswer) context(h *history, e *storage.Event) (*eventContext, error) {
	ctx, c := s.r.Context(), eventContext{}
	amount := func(n *int) int {
		if n == nil {
			return 5
		}
		return min(max(*n, 0), maxContext)
	}
	before, start, _, err := h.backwards(ctx, amount(s.c.Context.Before), e.Place, storage.Place{})
	if err != nil {
		return nil, err
	}
	after, end, _, err := h.forwards(ctx, amount(s.c.Context.After), e.Place, newest.After)
	if err != nil {
		return nil, err
	}
	c.Start, c.End = token.Before(start).String(), token.After(end).String()
	if c.Before, err = h.append(ctx, nil, before); err != nil {
		return nil, err
	}
	if c.After, err = h.append(ctx, nil, after); err != nil {
		return nil, err
	}
	if s.c.Context.IncludeProfile {
		c.Profile, err = s.profiles(ctx, e, append(append(before, after...), e))
	}
	return &c, err
}

// profiles are what the senders of events were called when an event was sent.
func (s *searchAnswer) profiles(ctx context.Context, at *storage.Event, events []*storage.Event) (map[string]json.RawMessage, error) {
	senders := map[string]bool{}
	var list []string
	for _, e := range events {
		if !senders[e.Sender] {
			senders[e.Sender] = true
			list = append(list, e.Sender)
		}
	}
	members, err := s.a.db.MembersAt(ctx, at.RoomNID, list, at.Place)
	if err != nil {
		return nil, err
	}
	profiles := map[string]json.RawMessage{}
	for _, e := range members {
		p := map[string]string{}
		for _, field := range []string{"displayname", "avatar_url"} {
			if v := gjson.GetBytes(e.JSON, "content."+field); v.Type == gjson.String {
				p[field] = v.Str
			}
		}
		if profiles[*e.StateKey], err = json.Marshal(p); err != nil {
			return nil, err
		}
	}
	return profiles, nil
}

// maxSearchState bounds the state that comes with a page of results, in events. Tests lower it.
var maxSearchState = 10_000

// state is the state of the rooms on the page, as the user may read it. Where that is more than an answer
// holds, it is without those members who have said nothing of what was found.
func (s *searchAnswer) state(page []search.Found) (map[string]json.RawMessage, error) {
	ctx, rooms, left := s.r.Context(), map[string]json.RawMessage{}, maxSearchState
	senders := map[string]bool{s.to.UserID: true}
	for _, f := range page {
		senders[f.Event.Sender] = true
	}
	for _, f := range page {
		if rooms[f.Event.RoomID] != nil {
			continue
		}
		state, err := s.a.rooms.ReadableState(ctx, f.View, s.to.UserID)
		if err != nil {
			return nil, err
		}
		if state == nil {
			continue
		}
		whole := state.Len() <= left
		events, err := s.a.stateEvents(ctx, state, func(t storage.StateTuple, _ storage.StateEntry) bool {
			wanted := left > 0 && (whole || t.Type != "m.room.member" || senders[t.StateKey])
			if wanted {
				left--
			}
			return wanted
		})
		if err != nil {
			return nil, err
		}
		if rooms[f.Event.RoomID], err = s.a.appendEvents(ctx, nil, events, nil, s.to); err != nil {
			return nil, err
		}
	}
	return rooms, nil
}
