package syncapi

import (
	"context"
	"net/http"
	"time"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

const (
	// offlineAfter is how long after their last sync somebody counts as gone.
	offlineAfter = time.Minute
	// remoteOfflineAfter is that for users of other servers, after those have last said
	// anything of them.
	remoteOfflineAfter = 30 * time.Minute
	// presenceEvery is how often those who went away are looked for.
	presenceEvery = 15 * time.Second
	// maxStatus bounds a status message, in bytes.
	maxStatus = 1000
	// activeEvery is how often a user's last activity is written anew while their
	// state stays the same.
	activeEvery = 5 * time.Minute
)

// present notes that somebody syncs. Only a change of state is written, not every
// sync.
func (a *API) present(ctx context.Context, userID, state string) error {
	p, write := a.presenceOfSync(userID, state, time.Now())
	if !write {
		return nil
	}
	return a.db.Stream.Append(ctx, &storage.Change{Presence: []storage.Presence{p}})
}

// presenceOfSync is what somebody's presence becomes by a sync with the given
// set_presence, and whether that has to be written.
func (a *API) presenceOfSync(userID, state string, now time.Time) (p storage.Presence, write bool) {
	if !a.o.PresenceEnabled || state == "offline" {
		return p, false
	}
	if state == "" {
		state = "online"
	}
	h := a.hub
	h.mu.RLock()
	p, known := h.presence[userID]
	h.mu.RUnlock()
	if known && p.State == state && now.UnixMilli()-p.LastActiveTS < activeEvery.Milliseconds() {
		return p, false
	}
	return storage.Presence{UserID: userID, State: state, StatusMsg: p.StatusMsg, LastActiveTS: now.UnixMilli()}, true
}

// watchPresence turns those who stopped syncing offline.
func (a *API) watchPresence() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := a.loadPresence(ctx); err != nil {
		a.log.Error("reading presence failed", "err", err)
	}
	tick := time.NewTicker(presenceEvery)
	defer tick.Stop()
	for {
		select {
		case <-a.closing:
			return
		case now := <-tick.C:
			a.hub.forgetAway(now)
			gone := a.gone(now)
			if len(gone) == 0 {
				continue
			}
			if err := a.db.Stream.Append(ctx, &storage.Change{Presence: gone}); err != nil {
				a.log.Error("writing presence failed", "err", err)
			}
		}
	}
}

func (a *API) loadPresence(ctx context.Context) error {
	all, err := a.db.RecentPresence(ctx)
	if err != nil {
		return err
	}
	h := a.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, p := range all {
		if known, ok := h.presence[p.UserID]; !ok || known.Position < p.Position {
			h.presence[p.UserID] = p
			if !userid.IsLocal(p.UserID, h.o.ServerName) {
				h.heard[p.UserID] = time.Now()
			}
		}
	}
	return nil
}

// forgetAway forgets users of other servers who are offline for long.
func (h *hub) forgetAway(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id, at := range h.heard {
		if now.Sub(at) > 2*remoteOfflineAfter && h.presence[id].State == "offline" {
			delete(h.heard, id)
			delete(h.presence, id)
		}
	}
}

// gone lists those who are shown as there and have not synced lately.
func (a *API) gone(now time.Time) []storage.Presence {
	h := a.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	var gone []storage.Presence
	for id, p := range h.presence {
		if p.State == "offline" {
			continue
		}
		if !userid.IsLocal(id, h.o.ServerName) {
			if now.Sub(h.heard[id]) > remoteOfflineAfter {
				p.State = "offline"
				gone = append(gone, p)
			}
			continue
		}
		last := p.LastActiveTS
		if u := h.users[id]; u != nil {
			if u.waiting() {
				continue
			}
			last = max(last, u.lastSync.Load())
		}
		if now.UnixMilli()-last > offlineAfter.Milliseconds() {
			p.State, p.LastActiveTS = "offline", last
			gone = append(gone, p)
		}
	}
	return gone
}

// presenceOf is the presence of those who came into the user's sight, as far as it isn't
// news anyway.
func (q *request) presenceOf(m *moment) (list []storage.Presence) {
	h := q.api.hub
	if !h.o.PresenceEnabled || len(m.newcomers) == 0 {
		return nil
	}
	for _, p := range m.changed {
		delete(m.newcomers, p.UserID)
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	for id := range m.newcomers {
		if p, ok := h.presence[id]; ok {
			list = append(list, p)
		}
	}
	return list
}

// getPresence answers GET /_matrix/client/v3/presence/{userId}/status.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3presenceuseridstatus
func (a *API) getPresence(r *http.Request, u *httpapi.Requester) (any, error) {
	other := httpapi.Var(r, "userId")
	me, err := a.user(r.Context(), u.UserID)
	if err != nil {
		return nil, err
	}
	if err := a.loadJoined(r.Context(), me); err != nil {
		return nil, err
	}
	q := request{api: a, u: me}
	h := a.hub
	h.mu.RLock()
	defer h.mu.RUnlock()
	if !q.shares(other) {
		return nil, httpapi.Forbidden("You share no room with %s", other)
	}
	p, ok := h.presence[other]
	if !ok {
		return map[string]any{"presence": "offline"}, nil
	}
	answer := map[string]any{
		"presence": p.State, "currently_active": p.State == "online",
		"last_active_ago": max(0, time.Now().UnixMilli()-p.LastActiveTS),
	}
	if p.StatusMsg != "" {
		answer["status_msg"] = p.StatusMsg
	}
	return answer, nil
}

// loadJoined loads the views of the rooms that the user has joined.
func (a *API) loadJoined(ctx context.Context, u *user) error {
	h := a.hub
	h.mu.RLock()
	var missing []*room
	for nid, m := range u.memberships {
		if r := h.rooms[nid]; m.Membership == "join" && r.view == nil {
			missing = append(missing, r)
		}
	}
	h.mu.RUnlock()
	return a.loadRooms(ctx, missing)
}

// putPresence answers PUT /_matrix/client/v3/presence/{userId}/status.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3presenceuseridstatus
func (a *API) putPresence(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Presence  string  `json:"presence"`
		StatusMsg *string `json:"status_msg"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if httpapi.Var(r, "userId") != u.UserID {
		return nil, httpapi.Forbidden("You can't set somebody else's presence")
	}
	switch body.Presence {
	case "online", "offline", "unavailable":
	default:
		return nil, httpapi.InvalidParam("presence must be online, offline or unavailable")
	}
	p := storage.Presence{UserID: u.UserID, State: body.Presence, LastActiveTS: time.Now().UnixMilli()}
	if body.StatusMsg != nil {
		if len(*body.StatusMsg) > maxStatus || !httpapi.IsText(*body.StatusMsg) {
			return nil, httpapi.InvalidParam("status_msg must be text of at most %d bytes", maxStatus)
		}
		p.StatusMsg = *body.StatusMsg
	}
	if !a.o.PresenceEnabled {
		return nil, nil
	}
	// Their rooms must be known, for those to be woken who share them.
	if _, err := a.user(r.Context(), u.UserID); err != nil {
		return nil, err
	}
	return nil, a.db.Stream.Append(r.Context(), &storage.Change{Presence: []storage.Presence{p}})
}
