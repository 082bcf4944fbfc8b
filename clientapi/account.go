package clientapi

import (
	"context"
	"errors"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/storage"
)

func (a *API) accountRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/account/whoami", Handle: a.getWhoami},
		{Method: "POST", Path: "/user/{userId}/openid/request_token", Rate: httpapi.RateMessage, Handle: a.postOpenID},
		{Method: "GET", Path: "/voip/turnServer", Rate: httpapi.RateMessage, Handle: a.getTURNServer},
		{Method: "GET", Path: "/admin/whois/{userId}", Handle: a.getWhois},
		{Method: "POST", Path: "/account/password", Auth: httpapi.AuthOptional, Rate: httpapi.RateLogin, Handle: a.postPassword},
		{Method: "POST", Path: "/account/deactivate", Auth: httpapi.AuthOptional, Rate: httpapi.RateLogin, Handle: a.postDeactivate},
	}
}

// getWhoami is GET /account/whoami.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3accountwhoami
func (a *API) getWhoami(_ *http.Request, u *httpapi.Requester) (any, error) {
	return map[string]any{"user_id": u.UserID, "device_id": u.DeviceID, "is_guest": u.Guest}, nil
}

// passwordChange is the body of POST /account/password.
type passwordChange struct {
	api           *API
	NewPassword   string `json:"new_password"`
	LogoutDevices *bool  `json:"logout_devices"`
}

// check refuses a password that wouldn't do before anything is proved for it.
func (b *passwordChange) check() error {
	if b.NewPassword == "" { // clients ask for the flows without it
		return nil
	}
	return b.api.checkPolicy(b.NewPassword)
}

// postPassword is POST /account/password, with interactive authentication.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountpassword
func (a *API) postPassword(r *http.Request, u *httpapi.Requester) (any, error) {
	body := passwordChange{api: a}
	var byEmail [][]string
	if a.o.Mailer != nil {
		byEmail = [][]string{{stageEmail}}
	}
	userID, err := a.interactive(r, u, &body, byEmail...)
	if err != nil {
		return nil, err
	}
	if err := a.checkPolicy(body.NewPassword); err != nil {
		return nil, err
	}
	hash, err := a.hashPassword(r.Context(), body.NewPassword)
	if err != nil {
		return nil, err
	}
	err = a.db.SetPassword(r.Context(), userID, hash)
	if errors.Is(err, storage.ErrNotFound) { // just now
		return nil, userDeactivated()
	}
	if err != nil {
		return nil, err
	}
	if body.LogoutDevices != nil && !*body.LogoutDevices {
		return nil, nil
	}
	keep := ""
	if u != nil {
		keep = u.DeviceID
	}
	return nil, a.deleteOtherDevices(r.Context(), userID, keep)
}

// postDeactivate is POST /account/deactivate, with interactive authentication.
// The account ends at once; leaving its rooms is made up for after a restart if
// it doesn't succeed now.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3accountdeactivate
func (a *API) postDeactivate(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Erase    bool   `json:"erase"`
		IDServer string `json:"id_server"`
	}
	userID, err := a.interactive(r, u, &body)
	if err != nil {
		return nil, err
	}
	result, err := a.deactivate(r.Context(), userID, body.Erase, body.IDServer)
	if err != nil {
		return nil, err
	}
	return unboundAnswer{result}, nil
}

// deactivate ends an account. Its result is what became of what it has published.
func (a *API) deactivate(ctx context.Context, userID string, erase bool, idServer string) (result string, err error) {
	if result, err = a.unbindAll(ctx, userID, idServer); err != nil {
		return "", err
	}
	gone, err := a.db.DeactivateUser(ctx, userID, erase)
	if err != nil {
		return "", err
	}
	a.sessions.forget(gone)
	// The client may go away, but the rooms are to be left all the same.
	ctx = context.WithoutCancel(ctx)
	if err := a.deviceListChanged(ctx, userID); err != nil {
		return "", err
	}
	if err := a.leaveRooms(ctx, userID); err != nil {
		a.log.Error("a deactivated user could not leave all rooms", "user", userID, "request", httpapi.RequestID(ctx), "err", err)
	}
	return result, nil
}

// leaveRooms makes a deactivated user leave all rooms.
func (a *API) leaveRooms(ctx context.Context, userID string) error {
	if a.o.LeaveRooms != nil {
		if err := a.o.LeaveRooms(ctx, userID); err != nil {
			return err
		}
	}
	return a.db.FinishDeactivation(ctx, userID)
}
