package clientapi

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"hearth/internal/canonicaljson"
	"hearth/internal/devicekeys"
	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

const (
	// maxOneTimeKeys bounds the keys of one upload, and maxKeyID the id of one.
	maxOneTimeKeys, maxKeyID = 500, 255
	// maxQueriedUsers bounds the users and devices one request may ask about.
	maxQueriedUsers = 5000
)

func (a *API) keyRoutes() []httpapi.Route {
	return []httpapi.Route{
		{Method: "POST", Path: "/keys/upload", Handle: a.postKeysUpload},
		{Method: "POST", Path: "/keys/query", Handle: a.postKeysQuery},
		{Method: "POST", Path: "/keys/claim", Handle: a.postKeysClaim},
		{Method: "POST", Path: "/keys/device_signing/upload", Handle: a.postCrossSigning},
		{Method: "POST", Path: "/keys/signatures/upload", Handle: a.postSignatures},
		{Method: "PUT", Path: "/sendToDevice/{eventType}/{txnId}", Rate: httpapi.RateMessage, Handle: a.putSendToDevice},
	}
}

// keysUpload is the body of POST /keys/upload.
type keysUpload struct {
	DeviceKeys   json.RawMessage            `json:"device_keys"`
	OneTimeKeys  map[string]json.RawMessage `json:"one_time_keys"`
	FallbackKeys map[string]json.RawMessage `json:"fallback_keys"`
}

// postKeysUpload answers POST /_matrix/client/v3/keys/upload.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysupload
func (a *API) postKeysUpload(r *http.Request, u *httpapi.Requester) (any, error) {
	var body keysUpload
	if err := httpapi.DecodeOptionalJSON(r, &body); err != nil {
		return nil, err
	}
	oneTime, err := deviceKeyList(body.OneTimeKeys)
	if err != nil {
		return nil, err
	}
	fallback, err := deviceKeyList(body.FallbackKeys)
	if err != nil {
		return nil, err
	}
	var device []byte
	if len(body.DeviceKeys) > 0 && string(body.DeviceKeys) != "null" {
		if device, err = checkDeviceKeys(body.DeviceKeys, u.UserID, u.DeviceID); err != nil {
			return nil, err
		}
	}
	err = a.db.AddOneTimeKeys(r.Context(), u.UserID, u.DeviceID, oneTime)
	if errors.Is(err, storage.ErrKeyExists) {
		return nil, httpapi.InvalidParam("Another one-time key has this id already")
	}
	if errors.Is(err, storage.ErrTooMany) {
		return nil, httpapi.LimitReached("A device has at most %d one-time keys", storage.MaxStock)
	}
	if err != nil {
		return nil, err
	}
	if err := a.db.SetFallbackKeys(r.Context(), u.UserID, u.DeviceID, fallback); err != nil {
		return nil, err
	}
	// After those: who hears of the device claims one at once, and long won't ask again where there is none.
	if device != nil {
		if err := a.setDeviceKeys(r, u, device); err != nil {
			return nil, err
		}
	}
	counts, err := a.db.GetKeyCounts(r.Context(), u.UserID, u.DeviceID)
	return map[string]any{"one_time_key_counts": counts.OneTime}, err
}

func (a *API) setDeviceKeys(r *http.Request, u *httpapi.Requester, canonical []byte) error {
	changed, err := a.db.SetDeviceKeys(r.Context(), storage.DeviceKeys{UserID: u.UserID, DeviceID: u.DeviceID, JSON: canonical})
	if err != nil || !changed {
		return err
	}
	return a.deviceListChanged(r.Context(), u.UserID, u.DeviceID)
}

// checkDeviceKeys returns a device's identity keys as they are stored.
func checkDeviceKeys(raw json.RawMessage, userID, deviceID string) ([]byte, error) {
	keys := gjson.ParseBytes(raw)
	if !keys.IsObject() || !keys.Get("algorithms").IsArray() || !keys.Get("keys").IsObject() || !keys.Get("signatures").IsObject() {
		return nil, httpapi.BadJSON("device_keys needs algorithms, keys and signatures")
	}
	if keys.Get("user_id").Str != userID || keys.Get("device_id").Str != deviceID {
		return nil, httpapi.InvalidParam("device_keys is of another user or device")
	}
	canonical, err := canonicaljson.Append(nil, raw)
	if err != nil {
		return nil, httpapi.BadJSON("device_keys is %v", err)
	}
	return canonical, nil
}

// deviceKeyList splits the keys of an upload, "ALGORITHM:ID" each.
func deviceKeyList(keys map[string]json.RawMessage) ([]storage.DeviceKey, error) {
	if len(keys) > maxOneTimeKeys {
		return nil, httpapi.InvalidParam("There are more than %d keys", maxOneTimeKeys)
	}
	list := make([]storage.DeviceKey, 0, len(keys))
	for name, raw := range keys {
		algorithm, id, ok := strings.Cut(name, ":")
		if !ok || algorithm == "" || id == "" || len(name) > maxKeyID || !isText(name) {
			return nil, httpapi.InvalidParam("%.100q is no key id", name)
		}
		canonical, err := canonicaljson.Append(nil, raw)
		if err != nil {
			return nil, httpapi.BadJSON("A key is %v", err)
		}
		if canonical[0] != '"' && canonical[0] != '{' {
			return nil, httpapi.BadJSON("A key must be a string or an object")
		}
		list = append(list, storage.DeviceKey{Algorithm: algorithm, KeyID: id, JSON: canonical})
	}
	return list, nil
}

// postKeysQuery answers POST /_matrix/client/v3/keys/query.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysquery
func (a *API) postKeysQuery(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		DeviceKeys map[string][]string `json:"device_keys"`
		Timeout    int64               `json:"timeout"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if body.DeviceKeys == nil {
		return nil, httpapi.BadJSON("device_keys is missing")
	}
	if len(body.DeviceKeys) > maxQueriedUsers {
		return nil, httpapi.InvalidParam("There are more than %d users", maxQueriedUsers)
	}
	users := make([]string, 0, len(body.DeviceKeys))
	for userID := range body.DeviceKeys {
		if isText(userID) {
			users = append(users, userID)
		}
	}
	found, err := a.queryKeys(r, users, u.UserID, keysTimeout(body.Timeout))
	if err != nil {
		return nil, err
	}
	return found.answer(body.DeviceKeys), nil
}

// postKeysClaim answers POST /_matrix/client/v3/keys/claim.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysclaim
func (a *API) postKeysClaim(r *http.Request, _ *httpapi.Requester) (any, error) {
	var body struct {
		OneTimeKeys map[string]map[string]string `json:"one_time_keys"`
		Timeout     int64                        `json:"timeout"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if body.OneTimeKeys == nil {
		return nil, httpapi.BadJSON("one_time_keys is missing")
	}
	remote := map[string]map[string]string{}
	n := 0
	for userID, devices := range body.OneTimeKeys {
		n += len(devices)
		if _, _, ok := userid.Split(userID); ok && a.o.Federation != nil && !userid.IsLocal(userID, a.serverName) {
			remote[userID] = devices
			delete(body.OneTimeKeys, userID)
		}
	}
	if n > maxQueriedUsers {
		return nil, httpapi.InvalidParam("There are more than %d devices", maxQueriedUsers)
	}
	claimed, err := devicekeys.Claim(r.Context(), a.db, body.OneTimeKeys, maxQueriedUsers)
	if err != nil || len(remote) == 0 {
		return map[string]any{"one_time_keys": claimed, "failures": struct{}{}}, err
	}
	others, failures := a.o.Federation.ClaimKeys(r.Context(), remote, keysTimeout(body.Timeout))
	maps.Copy(claimed, others)
	return map[string]any{"one_time_keys": claimed, "failures": failures}, nil
}
