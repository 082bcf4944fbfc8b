package syncapi

import (
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"

	"hearth/internal/httpapi"
)

// wire is one of the two ways in which sliding sync is written: as the proposal was
// accepted, and as clients speak it that were there before.
type wire struct {
	// read reads a request.
	read        func(r *http.Request, userID string) (*slidingParams, error)
	parseList   func(raw json.RawMessage, userID string) (*slidingList, error)
	parseConfig func(raw json.RawMessage, userID string) (*roomConfig, error)
	// stripped and expanded are the names of members of a room.
	stripped, expanded string
	// counts is whether rooms have their unread counts, and accepted whether they have what
	// came late to the proposal: the membership, the lists, and what was removed.
	counts, accepted bool
}

// wireUnstable is org.matrix.simplified_msc3575, wireV4 what was accepted as MSC4186.
var wireUnstable, wireV4 *wire

func init() {
	wireUnstable = &wire{read: readUnstable, parseList: parseUnstableList, parseConfig: parseUnstableConfig,
		stripped: "invite_state", expanded: "unstable_expanded_timeline", counts: true}
	wireV4 = &wire{read: readV4, parseList: parseV4List, parseConfig: parseV4Config,
		stripped: "stripped_state", expanded: "expanded_timeline", accepted: true}
}

func readUnstable(r *http.Request, userID string) (*slidingParams, error) {
	var body slidingBody
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	p, err := body.params(wireUnstable, userID)
	if err != nil {
		return nil, err
	}
	v := r.URL.Query()
	p.pos, p.presence = v.Get("pos"), v.Get("set_presence")
	if text := v.Get("timeout"); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, httpapi.InvalidParam("timeout must be a number of milliseconds")
		}
		if p.timeout, err = timeoutParam(ms); err != nil {
			return nil, err
		}
	}
	return p, checkPresence(p.presence)
}

type unstableConfig struct {
	Limit *int       `json:"timeline_limit"`
	State [][]string `json:"required_state"`
}

func (c *unstableConfig) config(userID string) (*roomConfig, error) {
	rules, err := unstableRules(c.State, userID)
	if err != nil {
		return nil, err
	}
	return newConfig(c.Limit, rules)
}

func parseUnstableConfig(raw json.RawMessage, userID string) (*roomConfig, error) {
	var c unstableConfig
	if err := httpapi.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	return c.config(userID)
}

func parseUnstableList(raw json.RawMessage, userID string) (*slidingList, error) {
	var l struct {
		unstableConfig
		Ranges  *[][]int       `json:"ranges"`
		All     bool           `json:"slow_get_all_rooms"`
		Filters slidingFilters `json:"filters"`
	}
	if err := httpapi.Unmarshal(raw, &l); err != nil {
		return nil, err
	}
	config, err := l.config(userID)
	if err != nil {
		return nil, err
	}
	list := &slidingList{roomConfig: *config, filters: l.Filters, whole: l.All || l.Ranges == nil}
	if l.Ranges != nil {
		if err := list.setRanges(*l.Ranges); err != nil {
			return nil, err
		}
	}
	return list, list.filters.check()
}

// unstableRules reads pairs of type and state key, in which * stands for anything, $ME for
// the user, and m.room.member with $LAZY for members that are needed.
func unstableRules(pairs [][]string, userID string) (*stateRules, error) {
	if len(pairs) > maxStateRules {
		return nil, httpapi.InvalidParam("required_state has more than %d entries", maxStateRules)
	}
	r := &stateRules{}
	for _, pair := range pairs {
		if len(pair) != 2 {
			return nil, httpapi.InvalidParam("required_state must be a list of pairs")
		}
		eventType, stateKey := &pair[0], &pair[1]
		switch {
		case *stateKey == "$LAZY":
			r.lazy = r.lazy || *eventType == "m.room.member"
			continue
		case *stateKey == "$ME":
			stateKey = &userID
		case *stateKey == "*":
			stateKey = nil
		}
		if *eventType == "*" {
			eventType = nil
		}
		r.include.add(eventType, stateKey)
	}
	r.id = rulesID(pairs)
	return r, nil
}

// rulesID is the same for what is written the same.
func rulesID(v any) string {
	text, _ := json.Marshal(v) // came from JSON
	sum := sha256.Sum256(text)
	return string(sum[:12])
}

func readV4(r *http.Request, userID string) (*slidingParams, error) {
	var body struct {
		slidingBody
		Pos      string `json:"pos"`
		Timeout  int64  `json:"timeout"`
		Presence string `json:"set_presence"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	for name := range body.Lists {
		if !opaqueID.MatchString(name) {
			return nil, httpapi.InvalidParam("%q is no name for a list", name)
		}
	}
	p, err := body.params(wireV4, userID)
	if err != nil {
		return nil, err
	}
	p.pos, p.presence = body.Pos, body.Presence
	if p.timeout, err = timeoutParam(body.Timeout); err != nil {
		return nil, err
	}
	return p, checkPresence(p.presence)
}

// opaqueID is the grammar of opaque identifiers.
//
// https://spec.matrix.org/v1.19/appendices/#opaque-identifiers
var opaqueID = regexp.MustCompile(`^[0-9A-Za-z._~-]{1,255}$`)

type v4Config struct {
	Limit *int    `json:"timeline_limit"`
	State v4State `json:"required_state"`
}

type v4State struct {
	Include []v4Element `json:"include"`
	Exclude []v4Element `json:"exclude"`
	Lazy    bool        `json:"lazy_members"`
}

type v4Element struct {
	Type     *string `json:"type"`
	StateKey *string `json:"state_key"`
}

func (c *v4Config) config() (*roomConfig, error) {
	if len(c.State.Include)+len(c.State.Exclude) > maxStateRules {
		return nil, httpapi.InvalidParam("required_state has more than %d entries", maxStateRules)
	}
	r := &stateRules{lazy: c.State.Lazy, id: rulesID(&c.State)}
	for _, e := range c.State.Include {
		r.include.add(e.Type, e.StateKey)
	}
	for _, e := range c.State.Exclude {
		r.exclude.add(e.Type, e.StateKey)
	}
	return newConfig(c.Limit, r)
}

func parseV4Config(raw json.RawMessage, _ string) (*roomConfig, error) {
	var c v4Config
	if err := httpapi.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	return c.config()
}

func parseV4List(raw json.RawMessage, _ string) (*slidingList, error) {
	var l struct {
		v4Config
		Range   []int          `json:"range"`
		Filters slidingFilters `json:"filters"`
	}
	if err := httpapi.Unmarshal(raw, &l); err != nil {
		return nil, err
	}
	config, err := l.config()
	if err != nil {
		return nil, err
	}
	list := &slidingList{roomConfig: *config, filters: l.Filters, whole: l.Range == nil}
	if l.Range != nil {
		if err := list.setRanges([][]int{l.Range}); err != nil {
			return nil, err
		}
	}
	list.filters.IsInvite = list.filters.IsInvited
	return list, list.filters.check()
}
