package syncapi

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"hearth/internal/filter"
	"hearth/internal/httpapi"
	"hearth/internal/token"
	"hearth/roomserver"
	"hearth/storage"
)

const (
	// maxTimeout bounds how long a client may have its request wait.
	maxTimeout = 5 * time.Minute
	// defaultTimeline is how many events of a room are shown when the filter doesn't say.
	defaultTimeline = 10
	// maxTimeline bounds what the filter may say.
	maxTimeline = 100
)

// request is one /sync.
type request struct {
	api       *API
	u         *user
	requester *httpapi.Requester
	filter    *filter.Sync
	// filterText is what the client calls the filter: its JSON, or its id.
	filterText string
	since      token.Sync
	// initial is a first sync: there is no since.
	initial    bool
	fullState  bool
	stateAfter bool
	// stateName is what the client calls the state block of a room.
	stateName string
	timeout   time.Duration
	// presence is what the request makes the user's presence: set_presence.
	presence string
	now      time.Time
	// bundles is what is shown with the events of joined rooms.
	bundles *roomserver.Bundles
	// sent is which members the device was sent, where they are loaded lazily.
	sent *deviceMembers
	// ignored are those whom the user ignores, as of the moment.
	ignored map[string]bool
}

// getSync answers GET /_matrix/client/v3/sync.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
func (a *API) getSync(r *http.Request, requester *httpapi.Requester) (any, error) {
	q, err := a.parse(r.URL.Query(), requester)
	if err != nil {
		return nil, err
	}
	if q.filter, err = a.filter(r.Context(), requester.UserID, q.filterText); err != nil {
		return nil, err
	}
	if q.u, err = a.user(r.Context(), requester.UserID); err != nil {
		return nil, err
	}
	if err := a.present(r.Context(), requester.UserID, q.presence); err != nil {
		return nil, err
	}
	return q.answer(r)
}

// parse reads what a request asks for, except for its filter.
func (a *API) parse(v url.Values, requester *httpapi.Requester) (*request, error) {
	q := &request{api: a, requester: requester, now: time.Now(), initial: true, filterText: v.Get("filter")}
	var err error
	if q.fullState, err = boolParam(v, "full_state"); err != nil {
		return nil, err
	}
	if err = q.parseStateAfter(v); err != nil {
		return nil, err
	}
	if since := v.Get("since"); since != "" {
		q.initial = false
		if q.since, err = token.ParseSync(since); err != nil || q.since.Position > a.hub.now() {
			return nil, httpapi.InvalidParam("since is no token of this server's")
		}
	}
	if q.timeout, err = timeoutOf(v); err != nil {
		return nil, err
	}
	switch q.presence = v.Get("set_presence"); q.presence {
	case "", "online", "offline", "unavailable":
	default:
		return nil, httpapi.InvalidParam("set_presence must be online, offline or unavailable")
	}
	return q, nil
}

// timeoutOf reads for how long a client wants its request to wait.
func timeoutOf(v url.Values) (time.Duration, error) {
	text := v.Get("timeout")
	if text == "" {
		return 0, nil
	}
	ms, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, httpapi.InvalidParam("timeout must be a number of milliseconds")
	}
	return timeoutParam(ms)
}

// parseStateAfter reads whether the client wants the state as of the timeline's end, by the
// name that the specification has for it or by that of before it was in there.
func (q *request) parseStateAfter(v url.Values) error {
	q.stateName = "state"
	for prefix, name := range map[string]string{"org.matrix.msc4222.": "org.matrix.msc4222.state_after", "": "state_after"} {
		wanted, err := boolParam(v, prefix+"use_state_after")
		if err != nil {
			return err
		}
		if wanted && q.stateName != "state_after" {
			q.stateAfter, q.stateName = true, name
		}
	}
	return nil
}

func boolParam(v url.Values, name string) (bool, error) {
	switch v.Get(name) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	}
	return false, httpapi.InvalidParam("%s must be true or false", name)
}

// everything is the filter of who gave none.
var everything = &filter.Sync{}

// filter reads a filter given as JSON or by its id.
func (a *API) filter(ctx context.Context, userID, text string) (*filter.Sync, error) {
	if text == "" {
		return everything, nil
	}
	if strings.HasPrefix(text, "{") {
		return a.inlineFilter(text)
	}
	// A stored filter never changes.
	if f, ok := a.filters.Get(userID + "\x00" + text); ok {
		return f, nil
	}
	raw, err := a.db.GetFilter(ctx, userID, text)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, httpapi.InvalidParam("There is no filter %q", text)
	}
	if err != nil {
		return nil, err
	}
	f, err := a.inlineFilter(string(raw))
	if err == nil {
		a.filters.Add(userID+"\x00"+text, f)
	}
	return f, err
}

// maxSharedFilter bounds the inline filters that are kept parsed, in bytes: clients
// of one kind all send the same few.
const maxSharedFilter = 1024

func (a *API) inlineFilter(text string) (*filter.Sync, error) {
	if f, ok := a.filters.Get(text); ok {
		return f, nil
	}
	f, err := filter.ParseSync([]byte(text))
	if err != nil {
		return nil, httpapi.BadJSON("The filter is invalid: %v", err)
	}
	if len(text) <= maxSharedFilter {
		a.filters.Add(text, f)
	}
	return f, nil
}

// answer waits until there is something to tell, or for the timeout, and tells it.
func (q *request) answer(r *http.Request) (any, error) {
	return q.poll(r, nil, q.park, func(last bool) ([]byte, error) {
		always := q.initial || q.fullState || last
		if !always && !q.hasNews() {
			return nil, nil
		}
		b, empty, err := q.build(r.Context())
		if err != nil || empty && !always {
			return nil, err
		}
		return b, nil
	})
}

// hasNews reports whether anything concerns the user since their token; without
// it there is no need to look at their rooms.
func (q *request) hasNews() bool {
	return q.u.news.Load() > q.since.Position || q.u.typing.Load() > q.since.Typing ||
		q.since.ToDevice < q.since.Position || q.since.Sticky < q.since.Position
}
