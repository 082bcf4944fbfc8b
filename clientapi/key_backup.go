package clientapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// maxBackups bounds the versions of a user's backup that exist at a time.
const maxBackups = 100

func (a *API) keyBackupRoutes() []httpapi.Route {
	const version, keys = "/room_keys/version", "/room_keys/keys"
	routes := []httpapi.Route{
		{Method: "POST", Path: version, Rate: httpapi.RateExpensive, Handle: a.postKeyBackup},
		{Method: "GET", Path: version, Handle: a.getKeyBackup},
		{Method: "GET", Path: version + "/{version}", Handle: a.getKeyBackup},
		{Method: "PUT", Path: version + "/{version}", Handle: a.putKeyBackup},
		{Method: "DELETE", Path: version + "/{version}", Handle: a.deleteKeyBackup},
	}
	for _, path := range []string{keys, keys + "/{roomId}", keys + "/{roomId}/{sessionId}"} {
		routes = append(routes,
			httpapi.Route{Method: "PUT", Path: path, MaxBody: maxBackupBody, Handle: a.putBackedUpKeys},
			httpapi.Route{Method: "GET", Path: path, Handle: a.getBackedUpKeys},
			httpapi.Route{Method: "DELETE", Path: path, Handle: a.deleteBackedUpKeys})
	}
	return routes
}

// backupInfo is the body of the requests that make or change a backup.
type backupInfo struct {
	Algorithm string          `json:"algorithm"`
	AuthData  json.RawMessage `json:"auth_data"`
	Version   *string         `json:"version"`
}

func readBackupInfo(r *http.Request) (*backupInfo, error) {
	var body backupInfo
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	switch {
	case body.Algorithm == "":
		return nil, httpapi.MissingParam("The algorithm is missing")
	case len(body.AuthData) == 0:
		return nil, httpapi.MissingParam("The auth_data is missing")
	case body.AuthData[0] != '{':
		return nil, httpapi.BadJSON("auth_data must be an object")
	case len(body.AuthData) > maxAuthData:
		return nil, httpapi.TooLarge("auth_data is larger than %d bytes", maxAuthData)
	}
	return &body, checkText("algorithm", body.Algorithm, maxKeyID)
}

// maxAuthData bounds what a client notes about a backup, in bytes.
const maxAuthData = 64 << 10

func noBackup(err error) error {
	var old *storage.ErrOldBackup
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return httpapi.NotFound("There is no such backup")
	case errors.As(err, &old):
		e := httpapi.New(http.StatusForbidden, "M_WRONG_ROOM_KEYS_VERSION", "There is a newer backup")
		e.Extra = map[string]any{"current_version": strconv.FormatInt(old.Current, 10)}
		return e
	}
	return err
}

// backupVersion is the version in the path or the query. One that isn't a number of ours is
// that of no backup: -1.
func backupVersion(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 {
		return -1
	}
	return n
}

// postKeyBackup answers POST /_matrix/client/v3/room_keys/version.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3room_keysversion
func (a *API) postKeyBackup(r *http.Request, u *httpapi.Requester) (any, error) {
	body, err := readBackupInfo(r)
	if err != nil {
		return nil, err
	}
	version, err := a.db.CreateKeyBackup(r.Context(), u.UserID, body.Algorithm, body.AuthData, maxBackups)
	if errors.Is(err, storage.ErrTooManyBackups) {
		return nil, httpapi.Forbidden("You have %d backups already: delete one first", maxBackups)
	}
	return map[string]string{"version": strconv.FormatInt(version, 10)}, err
}

// getKeyBackup answers GET /_matrix/client/v3/room_keys/version, for the newest backup,
// and GET /_matrix/client/v3/room_keys/version/{version}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keysversion
func (a *API) getKeyBackup(r *http.Request, u *httpapi.Requester) (any, error) {
	var version int64
	if text := httpapi.Var(r, "version"); text != "" {
		version = backupVersion(text)
	}
	b, err := a.db.GetKeyBackup(r.Context(), u.UserID, version)
	if err != nil {
		return nil, noBackup(err)
	}
	return map[string]any{"algorithm": b.Algorithm, "auth_data": b.AuthData, "count": b.Keys,
		"etag": strconv.FormatInt(b.ETag, 10), "version": strconv.FormatInt(b.Version, 10)}, nil
}

// putKeyBackup answers PUT /_matrix/client/v3/room_keys/version/{version}.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keysversionversion
func (a *API) putKeyBackup(r *http.Request, u *httpapi.Requester) (any, error) {
	body, err := readBackupInfo(r)
	if err != nil {
		return nil, err
	}
	text := httpapi.Var(r, "version")
	if body.Version != nil && *body.Version != text {
		return nil, httpapi.InvalidParam("The version in the body isn't that in the path")
	}
	b, err := a.db.GetKeyBackup(r.Context(), u.UserID, backupVersion(text))
	if err != nil {
		return nil, noBackup(err)
	}
	if b.Algorithm != body.Algorithm {
		return nil, httpapi.InvalidParam("The algorithm of a backup can't be changed")
	}
	return nil, noBackup(a.db.UpdateKeyBackup(r.Context(), u.UserID, b.Version, body.AuthData))
}

// deleteKeyBackup answers DELETE /_matrix/client/v3/room_keys/version/{version}.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keysversionversion
func (a *API) deleteKeyBackup(r *http.Request, u *httpapi.Requester) (any, error) {
	return nil, noBackup(a.db.DeleteKeyBackup(r.Context(), u.UserID, backupVersion(httpapi.Var(r, "version"))))
}
