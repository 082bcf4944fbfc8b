package syncapi

import (
	"encoding/json"
	"errors"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/push"
	"hearth/storage"
)

const (
	// maxAccountData bounds a user's pieces of account data, and maxDataType the
	// name of one, in bytes.
	maxAccountData, maxDataType = 10_000, 255
	// maxAccountDataBytes bounds what they take together: a first sync has them all.
	maxAccountDataBytes = 32 << 20
)

// dataPath checks the path of a request for account data: one's own, and a room
// id where there is one.
func dataPath(r *http.Request, u *httpapi.Requester) (roomID string, err error) {
	if httpapi.Var(r, "userId") != u.UserID {
		return "", httpapi.Forbidden("Account data of others is theirs alone")
	}
	roomID = httpapi.Var(r, "roomId")
	if roomID != "" && (roomID[0] != '!' || len(roomID) > 255) {
		return "", httpapi.InvalidParam("%q is no room id", roomID)
	}
	return roomID, nil
}

// getAccountData answers GET /_matrix/client/v3/user/{userId}/account_data/{type}
// and the same of a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridaccount_datatype
func (a *API) getAccountData(r *http.Request, u *httpapi.Requester) (any, error) {
	roomID, err := dataPath(r, u)
	if err != nil {
		return nil, err
	}
	dataType := httpapi.Var(r, "type")
	content, err := a.db.GetAccountData(r.Context(), u.UserID, roomID, dataType)
	if dataType == "m.push_rules" && roomID == "" && (err == nil || errors.Is(err, storage.ErrNotFound)) {
		return httpapi.Raw(push.Content(u.UserID, content)), nil
	}
	if errors.Is(err, storage.ErrNotFound) || err == nil && string(content) == deleted {
		return nil, httpapi.NotFound("There is no such account data")
	}
	return httpapi.Raw(content), err
}

// putAccountData answers PUT /_matrix/client/v3/user/{userId}/account_data/{type}
// and the same of a room.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridaccount_datatype
func (a *API) putAccountData(r *http.Request, u *httpapi.Requester) (any, error) {
	var content map[string]json.RawMessage
	body, err := httpapi.ReadJSON(r)
	if err != nil {
		return nil, err
	}
	if err := httpapi.Unmarshal(body, &content); err != nil {
		return nil, err
	}
	if len(content) == 0 {
		body = json.RawMessage(deleted)
	}
	d, err := writableData(r, u)
	if err != nil {
		return nil, err
	}
	d.Content = body
	return nil, a.setAccountData(r, d)
}

// deleted is the content of account data that was deleted: so other devices learn of
// it. Setting this content is deleting.
const deleted = "{}"

// deleteAccountData answers DELETE
// /_matrix/client/unstable/org.matrix.msc3391/user/{userId}/account_data/{type} and the
// same of a room.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3391
func (a *API) deleteAccountData(r *http.Request, u *httpapi.Requester) (any, error) {
	d, err := writableData(r, u)
	if err != nil {
		return nil, err
	}
	content, err := a.db.GetAccountData(r.Context(), u.UserID, d.RoomID, d.Type)
	if errors.Is(err, storage.ErrNotFound) || err == nil && string(content) == deleted {
		return nil, nil // nobody needs to be told
	}
	if err != nil {
		return nil, err
	}
	d.Content = []byte(deleted)
	return nil, a.db.Stream.Append(r.Context(), &storage.Change{AccountData: []storage.AccountData{d}})
}

// writableData is the piece of account data that a request is about, if clients may
// change it.
func writableData(r *http.Request, u *httpapi.Requester) (d storage.AccountData, err error) {
	d = storage.AccountData{UserID: u.UserID, Type: httpapi.Var(r, "type")}
	if d.RoomID, err = dataPath(r, u); err != nil {
		return d, err
	}
	switch {
	case d.Type == "m.fully_read", d.Type == "m.push_rules":
		return d, httpapi.New(http.StatusMethodNotAllowed, "M_BAD_JSON", "%s is managed by the server", d.Type)
	case len(d.Type) > maxDataType:
		return d, httpapi.InvalidParam("The type is longer than %d bytes", maxDataType)
	}
	return d, nil
}

func (a *API) setAccountData(r *http.Request, d storage.AccountData) error {
	n, bytes, err := a.db.OtherAccountData(r.Context(), d)
	if err != nil {
		return err
	}
	if n >= maxAccountData {
		return httpapi.LimitReached("You have %d pieces of account data, the most there may be", n)
	}
	if bytes+int64(len(d.Content)) > maxAccountDataBytes {
		return httpapi.LimitReached("Your account data together would be more than %d bytes, the most there may be", maxAccountDataBytes)
	}
	return a.db.Stream.Append(r.Context(), &storage.Change{AccountData: []storage.AccountData{d}})
}
