package federationapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"hearth/internal/httpapi"
)

func (a *API) adminRoutes() []httpapi.Route {
	return httpapi.ForAdmins([]httpapi.Route{
		{Method: "GET", Path: "/destinations", Handle: a.getDestinations},
		{Method: "GET", Path: "/destinations/{server}", Handle: a.getDestination},
		{Method: "POST", Path: "/destinations/{server}/reset_connection", Handle: a.postResetConnection},
	})
}

// destinationStatus is how sending to a server goes, as Synapse says it, and with why it
// failed, what it does and how far it is behind.
type destinationStatus struct {
	Destination   string `json:"destination"`
	RetryLastTS   int64  `json:"retry_last_ts"`
	RetryInterval int64  `json:"retry_interval"`
	FailureTS     *int64 `json:"failure_ts"`
	// LastSuccessful is up to where in the stream it has been sent everything.
	LastSuccessful int64  `json:"last_successful_stream_ordering"`
	LastSuccessTS  *int64 `json:"last_success_ts"`
	State          string `json:"state"`
	Behind         int64  `json:"stream_positions_behind"`
	LastError      string `json:"last_error,omitempty"`
}

// oneDestination is destinationStatus with what waits, each up to maxPending.
type oneDestination struct {
	destinationStatus
	PendingEvents   int   `json:"pending_events"`
	PendingToDevice int   `json:"pending_to_device"`
	OldestPendingTS int64 `json:"oldest_pending_ts,omitempty"`
}

// status is how sending to a server goes. The sender's lock is held.
func (s *sender) status(d *destination) destinationStatus {
	settled := s.settled.Load()
	st := destinationStatus{Destination: d.name, LastSuccessful: d.cursor, LastError: d.why}
	switch d.state {
	case idle:
		st.State, st.LastSuccessful = "current", max(d.cursor, settled)
	case paused:
		st.State = "failing"
		st.RetryLastTS, st.RetryInterval = d.until.Add(-d.pause).UnixMilli(), d.pause.Milliseconds()
	default:
		st.State = "sending"
	}
	st.Behind = max(0, settled-st.LastSuccessful)
	if !d.since.IsZero() {
		st.FailureTS = new(d.since.UnixMilli())
	}
	if !d.at.IsZero() {
		st.LastSuccessTS = new(d.at.UnixMilli())
	}
	return st
}

// maxListed bounds the servers of one answer.
const maxListed = 1000

// getDestinations is GET /_synapse/admin/v1/federation/destinations.
func (a *API) getDestinations(r *http.Request, _ *httpapi.Requester) (any, error) {
	from, limit, err := httpapi.PageParams(r, 100, maxListed)
	if err != nil {
		return nil, err
	}
	wanted := strings.ToLower(one(r, "destination"))
	s := a.sender
	list := []destinationStatus{}
	s.mu.Lock()
	for _, d := range s.servers {
		if strings.Contains(strings.ToLower(d.name), wanted) {
			list = append(list, s.status(d))
		}
	}
	s.mu.Unlock()
	slices.SortFunc(list, func(x, y destinationStatus) int { return strings.Compare(x.Destination, y.Destination) })
	if one(r, "dir") == "b" {
		slices.Reverse(list)
	}
	answer := map[string]any{"total": len(list)}
	page := list[min(from, len(list)):min(from+limit, len(list))]
	if from+limit < len(list) {
		answer["next_token"] = strconv.Itoa(from + limit)
	}
	answer["destinations"] = page
	return answer, nil
}

func (a *API) destinationOf(r *http.Request) (*destination, error) {
	d := a.sender.servers[httpapi.Var(r, "server")]
	if d == nil {
		return nil, httpapi.NotFound("Nothing is sent to this server")
	}
	return d, nil
}

// getDestination is GET /_synapse/admin/v1/federation/destinations/{destination}.
func (a *API) getDestination(r *http.Request, _ *httpapi.Requester) (any, error) {
	a.sender.mu.Lock()
	d, err := a.destinationOf(r)
	var st oneDestination
	if err == nil {
		st.destinationStatus = a.sender.status(d)
	}
	a.sender.mu.Unlock()
	if err != nil {
		return nil, err
	}
	p, err := a.db.PendingFor(r.Context(), a.serverName, st.Destination, st.LastSuccessful, maxPending)
	st.PendingEvents, st.PendingToDevice, st.OldestPendingTS = p.Events, p.ToDevice, p.OldestTS
	return st, err
}

// postResetConnection is POST
// /_synapse/admin/v1/federation/destinations/{destination}/reset_connection: a server
// that is failing is tried at once.
func (a *API) postResetConnection(r *http.Request, _ *httpapi.Requester) (any, error) {
	s := a.sender
	s.mu.Lock()
	d, err := a.destinationOf(r)
	failing := err == nil && d.state == paused
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	if !failing {
		return nil, httpapi.InvalidParam("The server isn't failing: there is nothing to reset")
	}
	a.client.Alive(d.name)
	s.endPause(d)
	return nil, nil
}
