package clientapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// This file is the page on which people manage their account.
//
// https://spec.matrix.org/v1.19/client-server-api/#oauth-20-account-management

const (
	accountPath = "/_hearth/account"
	// maxDevicesShown bounds the devices on the page, the newest of them.
	maxDevicesShown = 500

	actionDeviceView   = "org.matrix.device_view"
	actionDeviceDelete = "org.matrix.device_delete"
	actionDeactivate   = "org.matrix.account_deactivate"
	actionReset        = "org.matrix.cross_signing_reset"
)

// accountActions are what apps lead people to the page for.
var accountActions = []string{"org.matrix.profile", "org.matrix.devices_list", actionDeviceView, actionDeviceDelete, actionDeactivate, actionReset}

// accountPageRoutes are there with the OAuth 2.0 API.
func (a *API) accountPageRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: accountPath, Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, Handle: a.getAccountPage},
		{Method: "POST", Path: accountPath, Auth: httpapi.AuthNone, Rate: httpapi.RateExpensive, MaxBody: maxForm, Handle: a.postAccountPage},
	}
}

// accountQuery is what somebody comes to the page for.
type accountQuery struct{ Action, DeviceID, Session string }

func accountQueryOf(q url.Values) accountQuery {
	return accountQuery{truncate(q.Get("action"), 100), truncate(q.Get("device_id"), maxDeviceID), truncate(q.Get("session"), 100)}
}

// page is the path that asks for it.
func (q accountQuery) page() string {
	values := url.Values{}
	for name, value := range map[string]string{"action": q.Action, "device_id": q.DeviceID, "session": q.Session} {
		if value != "" {
			values.Set(name, value)
		}
	}
	if len(values) == 0 {
		return accountPath
	}
	return accountPath + "?" + values.Encode()
}

// getAccountPage shows the account, or what of it an app has led to.
func (a *API) getAccountPage(r *http.Request, _ *httpapi.Requester) (any, error) {
	q := accountQueryOf(r.URL.Query())
	user, err := a.pageUser(r)
	if err != nil {
		return nil, err
	}
	if user == nil {
		return a.askToSignIn(q.page()), nil
	}
	return a.showAccount(r, user, q, "")
}

var accountTemplate = pageTemplate("account")

// showAccount shows the page; said, unless "", is what became of what was asked.
func (a *API) showAccount(r *http.Request, user *storage.User, q accountQuery, said string) (any, error) {
	data := map[string]any{"User": user.ID, "Said": said, "Action": q.Action, "Query": q}
	switch q.Action {
	case actionDeactivate:
	case actionReset:
		s := a.auth.waiting(q.Session, stageOAuth)
		data["Waits"] = s != nil && s.requester == user.ID
	default:
		devices, err := a.shownDevices(r, user.ID, q)
		if err != nil {
			return nil, err
		}
		data["Devices"] = devices
		if q.Action == actionDeviceView || q.Action == actionDeviceDelete {
			break
		}
		if data["DisplayName"], _, err = a.db.ProfileNames(r.Context(), user.ID); err != nil {
			return nil, err
		}
		data["Profile"] = !user.Suspended
		if data["Addresses"], err = a.db.Threepids(r.Context(), user.ID); err != nil {
			return nil, err
		}
	}
	return a.page(http.StatusOK, accountTemplate, data, "'self'")
}

// shownDevices are those that somebody wants to see.
func (a *API) shownDevices(r *http.Request, userID string, q accountQuery) ([]storage.Device, error) {
	if q.Action == actionDeviceView || q.Action == actionDeviceDelete {
		device, err := a.db.GetDevice(r.Context(), userID, q.DeviceID)
		if errors.Is(err, storage.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return []storage.Device{*device}, nil
	}
	devices, err := a.db.ListDevices(r.Context(), userID)
	return devices[max(0, len(devices)-maxDevicesShown):], err
}

// postAccountPage does what somebody has asked for on the page.
func (a *API) postAccountPage(r *http.Request, _ *httpapi.Requester) (any, error) {
	form, err := a.readForm(r)
	if err != nil {
		return nil, err
	}
	q := accountQueryOf(form)
	user, err := a.pageUser(r)
	if err != nil {
		return nil, err
	}
	if user == nil || user.ID != form.Get("as") {
		return a.askToSignIn(q.page()), nil
	}
	switch form.Get("do") {
	case "leave":
		a.endPageSession(r)
		return a.askToSignIn(accountPath), nil
	case "deactivate":
		if !form.Has("sure") {
			return a.showAccount(r, user, q, "Nothing was done: you must say that you are sure.")
		}
		a.endPageSession(r)
		if _, err := a.deactivate(r.Context(), user.ID, form.Has("erase"), ""); err != nil {
			return nil, err
		}
		return a.page(http.StatusOK, accountTemplate, map[string]any{"Gone": true}, "'none'")
	}
	if s := a.auth.waiting(q.Session, stageOAuth); form.Get("do") == "reset" && s != nil && s.requester == user.ID {
		a.auth.complete(s, a.auth.demandOf(s), stageOAuth, proof{userID: user.ID})
		return a.authDonePage()
	}
	said, err := a.accountChange(r, user, form)
	var refused *httpapi.Error
	if errors.As(err, &refused) && refused.Status < 500 {
		said, err = refused.Message+".", nil
	}
	if err != nil {
		return nil, err
	}
	return a.showAccount(r, user, q, said)
}

// accountChange does what leaves the account there, and says what was done.
func (a *API) accountChange(r *http.Request, user *storage.User, form url.Values) (said string, err error) {
	switch form.Get("do") {
	case "rename":
		if user.Suspended {
			return "", httpapi.UserSuspended()
		}
		given, err := json.Marshal(form.Get("name"))
		if err != nil {
			return "", err
		}
		value, err := checkProfileValue("displayname", given)
		if err != nil {
			return "", err
		}
		return "Your name was changed.", a.changeProfile(r.Context(), user.ID, "displayname", value)
	case "delete":
		return "The device was logged out.", a.deleteDevices(r.Context(), user.ID, []string{form.Get("device_id")})
	}
	return "", httpapi.InvalidParam("Nothing was done")
}
