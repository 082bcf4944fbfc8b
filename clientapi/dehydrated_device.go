package clientapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	// maxDehydrated bounds the encrypted device, and maxDehydratedEvents a page of what
	// was sent to it.
	maxDehydrated, maxDehydratedEvents = 256 << 10, 100
)

// registerDehydrated adds the device that takes messages while its user has no other.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3814
func (a *API) registerDehydrated(s *httpapi.Server) {
	s.Register([]string{"/_matrix/client/unstable/org.matrix.msc3814.v1"}, []httpapi.Route{
		{Method: "PUT", Path: "/dehydrated_device", Handle: a.putDehydratedDevice},
		{Method: "GET", Path: "/dehydrated_device", Handle: a.getDehydratedDevice},
		{Method: "DELETE", Path: "/dehydrated_device", Handle: a.deleteDehydratedDevice},
		{Method: "GET", Path: "/dehydrated_device/{deviceId}/events", Handle: a.getDehydratedEvents},
		{Method: "POST", Path: "/dehydrated_device/{deviceId}/events", Handle: a.postDehydratedEvents},
	})
}

// dehydratedID is the answer of what changes the dehydrated device.
type dehydratedID struct {
	DeviceID string `json:"device_id"`
}

// putDehydratedDevice is PUT /dehydrated_device: it takes the place of the one before.
func (a *API) putDehydratedDevice(r *http.Request, u *httpapi.Requester) (any, error) {
	d, err := dehydratedBody(r, u)
	if err != nil {
		return nil, err
	}
	before, gone, err := a.db.SetDehydratedDevice(r.Context(), d)
	if errors.Is(err, storage.ErrDeviceInUse) {
		return nil, httpapi.InvalidParam("You have another device with this id")
	}
	if errors.Is(err, storage.ErrDeviceIsKey) {
		return nil, deviceIsKey()
	}
	if err != nil {
		return nil, err
	}
	a.sessions.forget(gone)
	changed := []string{d.DeviceID}
	if before != "" && before != d.DeviceID {
		changed = append(changed, before)
	}
	return dehydratedID{d.DeviceID}, a.deviceListChanged(r.Context(), u.UserID, changed...)
}

// dehydratedBody reads and checks the body of PUT /dehydrated_device.
func dehydratedBody(r *http.Request, u *httpapi.Requester) (*storage.DehydratedDevice, error) {
	var body struct {
		keysUpload
		DeviceID    string          `json:"device_id"`
		DeviceData  json.RawMessage `json:"device_data"`
		DisplayName string          `json:"initial_device_display_name"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if body.DeviceID == "" || body.DeviceData == nil || body.DeviceKeys == nil {
		return nil, httpapi.MissingParam("device_id, device_data and device_keys are needed")
	}
	if err := checkText("device_id", body.DeviceID, maxDeviceID); err != nil {
		return nil, err
	}
	if err := checkText("initial_device_display_name", body.DisplayName, maxDeviceName); err != nil {
		return nil, err
	}
	data := gjson.ParseBytes(body.DeviceData)
	if !data.IsObject() || data.Get("algorithm").Type != gjson.String {
		return nil, httpapi.BadJSON("device_data must be an object with an algorithm")
	}
	if len(body.DeviceData) > maxDehydrated {
		return nil, httpapi.TooLarge("device_data is longer than %d bytes", maxDehydrated)
	}
	d := storage.DehydratedDevice{UserID: u.UserID, DeviceID: body.DeviceID, DisplayName: body.DisplayName, Data: body.DeviceData}
	var err error
	if d.Keys, err = checkDeviceKeys(body.DeviceKeys, d.UserID, d.DeviceID); err != nil {
		return nil, err
	}
	if d.OneTime, err = deviceKeyList(body.OneTimeKeys); err != nil {
		return nil, err
	}
	d.Fallback, err = deviceKeyList(body.FallbackKeys)
	return &d, err
}

func noDehydrated(err error) error {
	if errors.Is(err, storage.ErrNotFound) {
		return httpapi.NotFound("You have no dehydrated device")
	}
	return err
}

// getDehydratedDevice is GET /dehydrated_device.
func (a *API) getDehydratedDevice(r *http.Request, u *httpapi.Requester) (any, error) {
	d, err := a.db.GetDehydratedDevice(r.Context(), u.UserID)
	if err != nil {
		return nil, noDehydrated(err)
	}
	return map[string]any{"device_id": d.DeviceID, "device_data": d.Data}, nil
}

// deleteDehydratedDevice is DELETE /dehydrated_device.
func (a *API) deleteDehydratedDevice(r *http.Request, u *httpapi.Requester) (any, error) {
	id, gone, err := a.db.DeleteDehydratedDevice(r.Context(), u.UserID)
	if err != nil {
		return nil, noDehydrated(err)
	}
	a.sessions.forget(gone)
	return dehydratedID{id}, a.deviceListChanged(r.Context(), u.UserID, id)
}

// getDehydratedEvents is GET /dehydrated_device/{deviceId}/events.
func (a *API) getDehydratedEvents(r *http.Request, u *httpapi.Requester) (any, error) {
	return a.dehydratedEvents(r, u, r.URL.Query().Get("next_batch"))
}

// postDehydratedEvents is the same as clients ask it that follow the proposal's earlier
// text.
func (a *API) postDehydratedEvents(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		NextBatch string `json:"next_batch"`
	}
	if err := httpapi.DecodeOptionalJSON(r, &body); err != nil {
		return nil, err
	}
	return a.dehydratedEvents(r, u, body.NextBatch)
}

// dehydratedEvents returns a page of what was sent to the dehydrated device. Nothing is
// deleted before the device is, so that another of the user's can begin anew.
func (a *API) dehydratedEvents(r *http.Request, u *httpapi.Requester, from string) (any, error) {
	after := storage.Position(0)
	if from != "" {
		n, err := strconv.ParseInt(from, 10, 64)
		if err != nil || n < 0 {
			return nil, httpapi.InvalidParam("next_batch is none of this server's")
		}
		after = n
	}
	deviceID := httpapi.Var(r, "deviceId")
	d, err := a.db.GetDehydratedDevice(r.Context(), u.UserID)
	if errors.Is(err, storage.ErrNotFound) || err == nil && d.DeviceID != deviceID {
		return nil, httpapi.Forbidden("This isn't your dehydrated device")
	}
	if err != nil {
		return nil, err
	}
	list, err := a.db.ListToDevice(r.Context(), u.UserID, deviceID, after, a.db.Stream.Position(), maxDehydratedEvents)
	if err != nil {
		return nil, err
	}
	events := make([]json.RawMessage, 0, len(list))
	for _, m := range list {
		events, after = append(events, m.Content), m.Position
	}
	return map[string]any{"events": events, "next_batch": strconv.FormatInt(after, 10)}, nil
}
