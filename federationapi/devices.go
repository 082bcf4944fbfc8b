package federationapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"hearth/internal/devicekeys"
	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

func (a *API) deviceRoutes() []httpapi.Route {
	return []httpapi.Route{
		a.signed("GET", "/user/devices/{userId}", a.getDevices),
		a.signed("POST", "/user/keys/query", a.postKeysQuery),
		a.signed("POST", "/user/keys/claim", a.postKeysClaim),
	}
}

// maxKeysAsked bounds the users, or devices, of one request.
const maxKeysAsked = 10_000

// device is a device as other servers see it.
type device struct {
	DeviceID    string          `json:"device_id"`
	DisplayName string          `json:"device_display_name,omitempty"`
	Keys        json.RawMessage `json:"keys"`
}

// getDevices is GET /user/devices/{userId}. Devices without keys are nobody else's
// concern.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid
func (a *API) getDevices(r *http.Request, _ string, _ json.RawMessage) (any, error) {
	ctx, userID := r.Context(), httpapi.Var(r, "userId")
	if err := a.isUser(r, userID); err != nil {
		return nil, err
	}
	// Before the keys: what changes meanwhile is announced with a later number.
	position, err := a.db.DeviceListPosition(ctx, userID)
	if err != nil {
		return nil, err
	}
	keys, err := devicekeys.Find(ctx, a.db, []string{userID}, "")
	if err != nil {
		return nil, err
	}
	devices := []device{}
	for id, raw := range keys.Devices[userID] {
		devices = append(devices, device{DeviceID: id, DisplayName: gjson.GetBytes(raw, "unsigned.device_display_name").Str, Keys: raw})
	}
	slices.SortFunc(devices, func(x, y device) int { return strings.Compare(x.DeviceID, y.DeviceID) })
	answer := map[string]any{"user_id": userID, "stream_id": position, "devices": devices}
	for usage, name := range map[string]string{"master": "master_key", "self_signing": "self_signing_key"} {
		if key := keys.Cross[usage][userID]; key != nil {
			answer[name] = key
		}
	}
	return answer, nil
}

// isUser makes sure that there is such a user of this server.
func (a *API) isUser(r *http.Request, userID string) error {
	unknown := httpapi.NotFound("There is no such user on this server")
	if !userid.IsLocal(userID, a.serverName) {
		return unknown
	}
	_, err := a.db.GetProfile(r.Context(), userID)
	if errors.Is(err, storage.ErrNotFound) {
		return unknown
	}
	return err
}

// postKeysQuery is POST /user/keys/query.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery
func (a *API) postKeysQuery(r *http.Request, _ string, body json.RawMessage) (any, error) {
	var q struct {
		DeviceKeys map[string][]string `json:"device_keys"`
	}
	if err := decode(body, &q); err != nil {
		return nil, err
	}
	if q.DeviceKeys == nil {
		return nil, httpapi.MissingParam("device_keys is missing")
	}
	if len(q.DeviceKeys) > maxKeysAsked {
		return nil, httpapi.InvalidParam("There are more than %d users", maxKeysAsked)
	}
	var users []string
	for userID := range q.DeviceKeys {
		if !userid.IsLocal(userID, a.serverName) {
			delete(q.DeviceKeys, userID)
			continue
		}
		users = append(users, userID)
	}
	keys, err := devicekeys.Find(r.Context(), a.db, users, "")
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"device_keys": keys.Asked(q.DeviceKeys)}
	for usage, name := range map[string]string{"master": "master_keys", "self_signing": "self_signing_keys"} {
		if keys.Cross[usage] != nil {
			answer[name] = keys.Cross[usage]
		}
	}
	return answer, nil
}

// postKeysClaim is POST /user/keys/claim.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim
func (a *API) postKeysClaim(r *http.Request, _ string, body json.RawMessage) (any, error) {
	var q struct {
		OneTimeKeys map[string]map[string]string `json:"one_time_keys"`
	}
	if err := decode(body, &q); err != nil {
		return nil, err
	}
	if q.OneTimeKeys == nil {
		return nil, httpapi.MissingParam("one_time_keys is missing")
	}
	for userID := range q.OneTimeKeys {
		if !userid.IsLocal(userID, a.serverName) {
			delete(q.OneTimeKeys, userID)
		}
	}
	claimed, err := devicekeys.Claim(r.Context(), a.db, q.OneTimeKeys, maxKeysAsked)
	return map[string]any{"one_time_keys": claimed}, err
}
