package clientapi

import (
	"context"
	"errors"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

// adminRoutes are what administrators ask of and do to accounts.
func (a *API) adminRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/admin/lock/{userId}", Handle: a.getModeration(lock)},
		{Method: "PUT", Path: "/admin/lock/{userId}", Handle: a.putModeration(lock)},
		{Method: "GET", Path: "/admin/suspend/{userId}", Handle: a.getModeration(suspend)},
		{Method: "PUT", Path: "/admin/suspend/{userId}", Handle: a.putModeration(suspend)},
	}
}

// moderation is a way to keep an account from being used, for a time.
type moderation struct {
	member string // of the request's and the answer's body
	of     func(*storage.User) bool
	set    func(*storage.DB, context.Context, string, bool) error
}

var (
	lock    = moderation{"locked", func(u *storage.User) bool { return u.Locked }, (*storage.DB).SetLocked}
	suspend = moderation{"suspended", func(u *storage.User) bool { return u.Suspended }, (*storage.DB).SetSuspended}
)

// moderated returns the account that an administrator asks for, which isn't another
// administrator's. Nothing is looked up before it is sure that an administrator asks.
func (a *API) moderated(r *http.Request, u *httpapi.Requester) (*storage.User, error) {
	if !u.Admin {
		return nil, httpapi.Forbidden("You are not an administrator of this server")
	}
	userID := httpapi.Var(r, "userId")
	if !userid.IsLocal(userID, a.serverName) {
		return nil, httpapi.InvalidParam("This is not the id of a user of this server")
	}
	user, err := a.db.GetUser(r.Context(), userID)
	switch {
	case errors.Is(err, storage.ErrNotFound), err == nil && user.Deactivated:
		return nil, httpapi.NotFound("There is no such user")
	case err != nil:
		return nil, err
	case user.Admin && user.ID != u.UserID:
		return nil, httpapi.Forbidden("This user is an administrator too")
	}
	return user, nil
}

// getModeration answers GET /admin/lock/{userId} and GET /admin/suspend/{userId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1adminlockuserid
func (a *API) getModeration(m moderation) func(*http.Request, *httpapi.Requester) (any, error) {
	return func(r *http.Request, u *httpapi.Requester) (any, error) {
		user, err := a.moderated(r, u)
		if err != nil {
			return nil, err
		}
		return map[string]bool{m.member: m.of(user)}, nil
	}
}

// putModeration answers PUT /admin/lock/{userId} and PUT /admin/suspend/{userId}. The
// account's sessions stay, and obey at once.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv1adminlockuserid
func (a *API) putModeration(m moderation) func(*http.Request, *httpapi.Requester) (any, error) {
	return func(r *http.Request, u *httpapi.Requester) (any, error) {
		var body map[string]any
		if err := httpapi.DecodeJSON(r, &body); err != nil {
			return nil, err
		}
		user, err := a.moderated(r, u)
		if err != nil {
			return nil, err
		}
		if user.ID == u.UserID {
			return nil, httpapi.Forbidden("You can't do this to your own account")
		}
		on, ok := body[m.member].(bool)
		switch {
		case body[m.member] == nil:
			return nil, httpapi.MissingParam("%s is missing", m.member)
		case !ok:
			return nil, httpapi.BadJSON("%s must be true or false", m.member)
		}
		if err := m.set(a.db, r.Context(), user.ID, on); err != nil {
			return nil, err
		}
		a.log.Info("an account was moderated", "user", user.ID, m.member, on, "by", u.UserID)
		return map[string]bool{m.member: on}, a.forgetSessions(r.Context(), user.ID)
	}
}

// forgetSessions makes what was changed of an account hold for all its sessions.
func (a *API) forgetSessions(ctx context.Context, userID string) error {
	tokens, err := a.db.TokensOf(ctx, userID)
	if err != nil {
		return err
	}
	a.sessions.forget(tokens)
	return nil
}

// getWhois answers GET /admin/whois/{userId}, to administrators and the user alone.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3adminwhoisuserid
func (a *API) getWhois(r *http.Request, u *httpapi.Requester) (any, error) {
	userID := httpapi.Var(r, "userId")
	if userID != u.UserID && !u.Admin {
		return nil, httpapi.Forbidden("Only administrators may ask for other users")
	}
	if !userid.IsLocal(userID, a.serverName) {
		return nil, httpapi.InvalidParam("This is not the id of a user of this server")
	}
	if _, err := a.db.GetUser(r.Context(), userID); errors.Is(err, storage.ErrNotFound) {
		return nil, httpapi.NotFound("There is no such user")
	} else if err != nil {
		return nil, err
	}
	list, err := a.db.ListDevices(r.Context(), userID)
	if err != nil {
		return nil, err
	}
	devices := make(map[string]any, len(list))
	for _, d := range list {
		connections := []any{}
		if !d.LastSeenAt.IsZero() {
			connections = append(connections, map[string]any{
				"ip": d.LastSeenIP, "last_seen": d.LastSeenAt.UnixMilli(), "user_agent": d.UserAgent})
		}
		devices[d.ID] = map[string]any{"sessions": []any{map[string]any{"connections": connections}}}
	}
	return map[string]any{"user_id": userID, "devices": devices}, nil
}
