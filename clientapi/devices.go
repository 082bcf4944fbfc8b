package clientapi

import (
	"context"
	"errors"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// maxDevicesDeleted bounds the devices deleted by one request.
const maxDevicesDeleted = 1000

func (a *API) deviceRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "GET", Path: "/devices", Handle: a.getDevices},
		{Method: "GET", Path: "/devices/{deviceId}", Handle: a.getDevice},
		{Method: "PUT", Path: "/devices/{deviceId}", Handle: a.putDevice},
		{Method: "DELETE", Path: "/devices/{deviceId}", Handle: a.deleteDevice},
		{Method: "POST", Path: "/delete_devices", Handle: a.postDeleteDevices},
	}
}

// deviceAnswer describes a device to its owner.
type deviceAnswer struct {
	DeviceID    string `json:"device_id"`
	DisplayName string `json:"display_name,omitempty"`
	LastSeenIP  string `json:"last_seen_ip,omitempty"`
	LastSeenTS  int64  `json:"last_seen_ts,omitempty"`
}

func describeDevice(d *storage.Device) deviceAnswer {
	answer := deviceAnswer{DeviceID: d.ID, DisplayName: d.DisplayName, LastSeenIP: d.LastSeenIP}
	if !d.LastSeenAt.IsZero() {
		answer.LastSeenTS = d.LastSeenAt.UnixMilli()
	}
	return answer
}

// getDevices is GET /devices.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devices
func (a *API) getDevices(r *http.Request, u *httpapi.Requester) (any, error) {
	devices, err := a.db.ListDevices(r.Context(), u.UserID)
	if err != nil {
		return nil, err
	}
	list := make([]deviceAnswer, 0, len(devices))
	for i := range devices {
		list = append(list, describeDevice(&devices[i]))
	}
	return map[string]any{"devices": list}, nil
}

// getDevice is GET /devices/{deviceId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3devicesdeviceid
func (a *API) getDevice(r *http.Request, u *httpapi.Requester) (any, error) {
	device, err := a.db.GetDevice(r.Context(), u.UserID, httpapi.Var(r, "deviceId"))
	if err != nil {
		return nil, noDevice(err)
	}
	return describeDevice(device), nil
}

func noDevice(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return httpapi.NotFound("You have no device with this id")
	}
	return err
}

// putDevice is PUT /devices/{deviceId}: it renames a device.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3devicesdeviceid
func (a *API) putDevice(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		DisplayName *string `json:"display_name"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	deviceID := httpapi.Var(r, "deviceId")
	if body.DisplayName == nil {
		_, err := a.db.GetDevice(r.Context(), u.UserID, deviceID)
		return nil, noDevice(err)
	}
	if err := checkText("display_name", *body.DisplayName, maxDeviceName); err != nil {
		return nil, err
	}
	if err := a.db.RenameDevice(r.Context(), u.UserID, deviceID, *body.DisplayName); err != nil {
		return nil, noDevice(err)
	}
	return nil, a.deviceListChanged(r.Context(), u.UserID, deviceID)
}

// deleteDevice is DELETE /devices/{deviceId}, with interactive authentication.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3devicesdeviceid
func (a *API) deleteDevice(r *http.Request, u *httpapi.Requester) (any, error) {
	if _, err := a.interactive(r, u, nil); err != nil {
		return nil, err
	}
	return nil, a.deleteDevices(r.Context(), u.UserID, []string{httpapi.Var(r, "deviceId")})
}

// postDeleteDevices is POST /delete_devices, with interactive authentication.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3delete_devices
func (a *API) postDeleteDevices(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Devices []string `json:"devices"`
	}
	_, err := a.interactive(r, u, &body)
	switch {
	case err != nil:
		return nil, err
	case body.Devices == nil:
		return nil, httpapi.MissingParam("The list of devices is missing")
	case len(body.Devices) > maxDevicesDeleted:
		return nil, httpapi.InvalidParam("At most %d devices can be deleted at once", maxDevicesDeleted)
	}
	for _, id := range body.Devices {
		if !isText(id) {
			return nil, httpapi.InvalidParam("A device id is not valid text")
		}
	}
	return nil, a.deleteDevices(r.Context(), u.UserID, body.Devices)
}

func (a *API) deleteDevices(ctx context.Context, userID string, deviceIDs []string) error {
	gone, err := a.db.DeleteDevices(ctx, userID, deviceIDs)
	if err != nil {
		return err
	}
	return a.devicesGone(ctx, userID, gone)
}

// deleteOtherDevices deletes all devices of the user but keep.
func (a *API) deleteOtherDevices(ctx context.Context, userID, keep string) error {
	gone, err := a.db.DeleteOtherDevices(ctx, userID, keep)
	if err != nil {
		return err
	}
	return a.devicesGone(ctx, userID, gone)
}

// devicesGone ends the sessions of devices that were deleted, and tells everybody. What was set for
// a device's own notifications goes with it.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3890
func (a *API) devicesGone(ctx context.Context, userID string, tokens []storage.TokenHash) error {
	a.sessions.forget(tokens)
	settings, err := a.db.SettingsOfGoneDevices(ctx, userID)
	if err != nil {
		return err
	}
	if len(settings) > 0 {
		for i := range settings {
			settings[i].Content = []byte("{}") // which is how other devices learn of it
		}
		if err := a.db.Stream.Append(ctx, &storage.Change{AccountData: settings}); err != nil {
			return err
		}
	}
	return a.deviceListChanged(ctx, userID)
}
