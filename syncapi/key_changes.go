package syncapi

import (
	"net/http"
	"time"

	"hearth/internal/filter"
	"hearth/internal/httpapi"
	"hearth/internal/token"
)

// getKeyChanges answers GET /_matrix/client/v3/keys/changes: what a sync since the token
// would say of device lists. It tells all there is to date, which is more than to asks for:
// a client that asks for somebody's keys once more than it must has newer ones.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3keyschanges
func (a *API) getKeyChanges(r *http.Request, requester *httpapi.Requester) (any, error) {
	from, err := a.syncToken(r, "from")
	if err != nil {
		return nil, err
	}
	if _, err := a.syncToken(r, "to"); err != nil {
		return nil, err
	}
	q := &request{api: a, requester: requester, now: time.Now(), since: from, filter: &filter.Sync{}}
	q.filter.Room.State.LazyLoadMembers = true // rooms count whose members aren't known yet
	if q.u, err = a.user(r.Context(), requester.UserID); err != nil {
		return nil, err
	}
	m, err := q.collect(r.Context())
	if err != nil {
		return nil, err
	}
	if err := q.loadVisibilities(r.Context(), m); err != nil {
		return nil, err
	}
	if err := q.loadDeviceLists(r.Context(), m); err != nil {
		return nil, err
	}
	if err := q.membersInSight(r.Context(), m); err != nil {
		return nil, err
	}
	return httpapi.Raw(append(m.devices.appendLists(append([]byte(nil), '{')), '}')), nil
}

// syncToken reads a token of /sync from the query.
func (a *API) syncToken(r *http.Request, name string) (token.Sync, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return token.Sync{}, httpapi.MissingParam("%s is missing", name)
	}
	t, err := token.ParseSync(text)
	if err != nil || t.Position > a.hub.now() {
		return token.Sync{}, httpapi.InvalidParam("%s is no token of this server's", name)
	}
	return t, nil
}
