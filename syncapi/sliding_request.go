package syncapi

import (
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"time"

	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	// maxLists and maxSubscriptions bound what one request asks for, and maxListName,
	// maxConnectionID and maxRanges how.
	maxLists, maxSubscriptions, maxListName, maxConnectionID, maxRanges = 100, 100, 255, 255, 100
	// maxStateRules bounds the pieces of state that are named for one list, maxFilterValues
	// the values of one filter.
	maxStateRules, maxFilterValues = 1000, 1000
)

// slidingParams is what a client asks of sliding sync, however it is written.
type slidingParams struct {
	connID, pos   string
	timeout       time.Duration
	presence      string
	lists         map[string]*slidingList
	subscriptions map[string]*roomConfig
	extensions    slidingExtensions
	// wanted stands for what is asked for: while it stays the same, only news can change
	// the answer.
	wanted [sha256.Size]byte
}

// roomConfig is what is to be told of a room.
type roomConfig struct {
	limit int
	state *stateRules
}

// slidingList is a list of rooms, of which a client wants some by their place in it.
type slidingList struct {
	roomConfig
	// ranges are of places, inclusive; whole is for all.
	ranges  [][2]int
	whole   bool
	filters slidingFilters
}

type slidingFilters struct {
	IsDM         *bool     `json:"is_dm"`
	Spaces       []string  `json:"spaces"`
	IsEncrypted  *bool     `json:"is_encrypted"`
	IsInvite     *bool     `json:"is_invite"`  // unstable
	IsInvited    *bool     `json:"is_invited"` // v4
	RoomTypes    []*string `json:"room_types"`
	NotRoomTypes []*string `json:"not_room_types"`
	NameLike     string    `json:"room_name_like"`
	Tags         []string  `json:"tags"`
	NotTags      []string  `json:"not_tags"`
}

func (f *slidingFilters) check() error {
	for _, n := range []int{len(f.Spaces), len(f.RoomTypes), len(f.NotRoomTypes), len(f.Tags), len(f.NotTags)} {
		if n > maxFilterValues {
			return httpapi.InvalidParam("A filter has more than %d values", maxFilterValues)
		}
	}
	return nil
}

// extension is what clients say of each of the extensions.
type extension struct {
	Enabled bool `json:"enabled"`
	// Lists and Rooms, if not nil, narrow down of which rooms the extension tells.
	Lists []string `json:"lists"`
	Rooms []string `json:"rooms"`
	// Limit and Since are for what is told in parts: messages to the device, sticky events; Limit is for subscriptions
	// to threads as well.
	Limit *int    `json:"limit"`
	Since *string `json:"since"`
}

type slidingExtensions struct {
	ToDevice    extension `json:"to_device"`
	E2EE        extension `json:"e2ee"`
	AccountData extension `json:"account_data"`
	Receipts    extension `json:"receipts"`
	Typing      extension `json:"typing"`
	Sticky      extension `json:"org.matrix.msc4354.sticky_events"`
	Threads     extension `json:"io.element.msc4308.thread_subscriptions"`
}

// stickyExtension is the name of the one for sticky events.
const stickyExtension = "org.matrix.msc4354.sticky_events"

// since is up to where the client has been told of what the extension of a name tells.
func (x *extension) since(name string, now storage.Position) (storage.Position, error) {
	if x.Since == nil || *x.Since == "" {
		return 0, nil
	}
	p, err := strconv.ParseInt(*x.Since, 10, 64)
	if err != nil || p < 0 || p > now {
		return 0, httpapi.InvalidParam("extensions.%s.since is no token of this server's", name)
	}
	return p, nil
}

// slidingBody is what the two ways of writing a request have in common.
type slidingBody struct {
	ConnID        string                     `json:"conn_id"`
	Lists         map[string]json.RawMessage `json:"lists"`
	Subscriptions map[string]json.RawMessage `json:"room_subscriptions"`
	Extensions    slidingExtensions          `json:"extensions"`
}

// params checks the body, leaving what is special to one way of writing to its wire.
func (b *slidingBody) params(w *wire, userID string) (*slidingParams, error) {
	p := &slidingParams{connID: b.ConnID, extensions: b.Extensions, lists: map[string]*slidingList{}, subscriptions: map[string]*roomConfig{}}
	switch {
	case len(b.ConnID) > maxConnectionID:
		return nil, httpapi.InvalidParam("conn_id is longer than %d bytes", maxConnectionID)
	case len(b.Lists) > maxLists:
		return nil, httpapi.InvalidParam("There are more than %d lists", maxLists)
	case len(b.Subscriptions) > maxSubscriptions:
		return nil, httpapi.InvalidParam("There are more than %d room_subscriptions", maxSubscriptions)
	}
	for name, raw := range b.Lists {
		if name == "" || len(name) > maxListName {
			return nil, httpapi.InvalidParam("The name of a list must have between 1 and %d bytes", maxListName)
		}
		list, err := w.parseList(raw, userID)
		if err != nil {
			return nil, err
		}
		p.lists[name] = list
	}
	for roomID, raw := range b.Subscriptions {
		config, err := w.parseConfig(raw, userID)
		if err != nil {
			return nil, err
		}
		p.subscriptions[roomID] = config
	}
	p.wanted = b.sum()
	return p, nil
}

// sum stands for what the client wants to be told of rooms and what belongs to them.
func (b *slidingBody) sum() [sha256.Size]byte {
	x := b.Extensions
	x.ToDevice.Since, x.ToDevice.Limit, x.Sticky.Since, x.Sticky.Limit, x.Threads.Limit = nil, nil, nil, nil, nil
	text, _ := json.Marshal([]any{b.Lists, b.Subscriptions, x}) // maps are written in order
	return sha256.Sum256(text)
}

// setRanges checks the ranges of a list and takes them over.
func (l *slidingList) setRanges(ranges [][]int) error {
	if len(ranges) > maxRanges {
		return httpapi.InvalidParam("A list has more than %d ranges", maxRanges)
	}
	for _, r := range ranges {
		if len(r) != 2 || r[0] < 0 || r[1] < r[0] {
			return httpapi.InvalidParam("A range must be two places, the first of them not behind the second")
		}
		l.ranges = append(l.ranges, [2]int{r[0], r[1]})
	}
	return nil
}

// newConfig puts together what is to be told of a room.
func newConfig(limit *int, state *stateRules) (*roomConfig, error) {
	switch {
	case limit == nil:
		return nil, httpapi.MissingParam("timeline_limit is missing")
	case *limit < 0:
		return nil, httpapi.InvalidParam("timeline_limit must not be negative")
	}
	return &roomConfig{limit: min(*limit, maxTimeline), state: state}, nil
}

// timeoutParam bounds how long a client wants to wait.
func timeoutParam(ms int64) (time.Duration, error) {
	if ms < 0 {
		return 0, httpapi.InvalidParam("timeout must be a number of milliseconds")
	}
	return time.Duration(min(ms, maxTimeout.Milliseconds())) * time.Millisecond, nil
}

func checkPresence(state string) error {
	switch state {
	case "", "online", "offline", "unavailable":
		return nil
	}
	return httpapi.InvalidParam("set_presence must be online, offline or unavailable")
}
