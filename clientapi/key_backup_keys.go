package clientapi

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	// maxBackupBody bounds the keys of one upload, in bytes; clients send a few hundred
	// of about 1 KB at a time.
	maxBackupBody = 16 << 20
	// maxBackedUpKeys bounds the keys of one backup.
	maxBackedUpKeys = 1_000_000
	// maxSafeInteger is the greatest number that canonical JSON knows.
	maxSafeInteger = 1<<53 - 1
)

// backedUpKey is a session's key as clients write it. What is missing is nil.
type backedUpKey struct {
	FirstMessageIndex *int64          `json:"first_message_index"`
	ForwardedCount    *int64          `json:"forwarded_count"`
	IsVerified        *bool           `json:"is_verified"`
	SessionData       json.RawMessage `json:"session_data"`
}

func (k *backedUpKey) check() error {
	switch {
	case k.FirstMessageIndex == nil || k.ForwardedCount == nil || k.IsVerified == nil || len(k.SessionData) == 0:
		return httpapi.BadJSON("A key needs first_message_index, forwarded_count, is_verified and session_data")
	case k.SessionData[0] != '{':
		return httpapi.BadJSON("session_data must be an object")
	case *k.FirstMessageIndex < 0 || *k.FirstMessageIndex > maxSafeInteger || *k.ForwardedCount < 0 || *k.ForwardedCount > maxSafeInteger:
		return httpapi.BadJSON("first_message_index and forwarded_count must not be negative")
	}
	return nil
}

type backedUpRoom struct {
	Sessions map[string]*backedUpKey `json:"sessions"`
}

// readBackedUpKeys reads the body of an upload, whose shape the path decides: one
// session, a room, or many rooms.
func readBackedUpKeys(r *http.Request, roomID, sessionID string) ([]storage.BackedUpKey, error) {
	rooms := map[string]*backedUpRoom{}
	var err error
	switch {
	case sessionID != "":
		k := &backedUpKey{}
		err = httpapi.DecodeJSON(r, k)
		rooms[roomID] = &backedUpRoom{Sessions: map[string]*backedUpKey{sessionID: k}}
	case roomID != "":
		room := &backedUpRoom{}
		err = httpapi.DecodeJSON(r, room)
		rooms[roomID] = room
	default:
		var body struct {
			Rooms map[string]*backedUpRoom `json:"rooms"`
		}
		err = httpapi.DecodeJSON(r, &body)
		if rooms = body.Rooms; err == nil && rooms == nil {
			err = httpapi.BadJSON("rooms is missing")
		}
	}
	if err != nil {
		return nil, err
	}
	return listBackedUpKeys(rooms)
}

func listBackedUpKeys(rooms map[string]*backedUpRoom) ([]storage.BackedUpKey, error) {
	var keys []storage.BackedUpKey
	for roomID, room := range rooms {
		if room == nil || room.Sessions == nil {
			return nil, httpapi.BadJSON("sessions is missing")
		}
		if err := checkText("a room's id", roomID, maxKeyID); err != nil {
			return nil, err
		}
		for sessionID, k := range room.Sessions {
			if k == nil {
				return nil, httpapi.BadJSON("A key must be an object")
			}
			if err := errors.Join(checkText("a session's id", sessionID, maxKeyID), k.check()); err != nil {
				return nil, err
			}
			keys = append(keys, storage.BackedUpKey{RoomID: roomID, SessionID: sessionID, FirstMessageIndex: *k.FirstMessageIndex,
				ForwardedCount: *k.ForwardedCount, IsVerified: *k.IsVerified, Data: k.SessionData})
		}
	}
	return keys, nil
}

// backupOf reads what the keys' endpoints have in common.
func backupOf(r *http.Request) (version int64, roomID, sessionID string, err error) {
	text := r.URL.Query().Get("version")
	if text == "" {
		return 0, "", "", httpapi.MissingParam("The version is missing")
	}
	return backupVersion(text), httpapi.Var(r, "roomId"), httpapi.Var(r, "sessionId"), nil
}

func backupCount(b storage.KeyBackup, err error) (any, error) {
	if err != nil {
		return nil, noBackup(err)
	}
	return map[string]any{"etag": strconv.FormatInt(b.ETag, 10), "count": b.Keys}, nil
}

// putBackedUpKeys answers PUT /_matrix/client/v3/room_keys/keys, …/{roomId} and
// …/{roomId}/{sessionId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3room_keyskeys
func (a *API) putBackedUpKeys(r *http.Request, u *httpapi.Requester) (any, error) {
	version, roomID, sessionID, err := backupOf(r)
	if err != nil {
		return nil, err
	}
	keys, err := readBackedUpKeys(r, roomID, sessionID)
	if err != nil {
		return nil, err
	}
	b, err := a.db.PutBackedUpKeys(r.Context(), u.UserID, version, keys, maxBackedUpKeys)
	if errors.Is(err, storage.ErrTooManyKeys) {
		return nil, httpapi.TooLarge("A backup holds no more than %d keys", maxBackedUpKeys)
	}
	return backupCount(b, err)
}

// deleteBackedUpKeys answers DELETE /_matrix/client/v3/room_keys/keys, …/{roomId} and
// …/{roomId}/{sessionId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3room_keyskeys
func (a *API) deleteBackedUpKeys(r *http.Request, u *httpapi.Requester) (any, error) {
	version, roomID, sessionID, err := backupOf(r)
	if err != nil {
		return nil, err
	}
	return backupCount(a.db.DeleteBackedUpKeys(r.Context(), u.UserID, version, roomID, sessionID))
}

// getBackedUpKeys answers GET /_matrix/client/v3/room_keys/keys, …/{roomId} and
// …/{roomId}/{sessionId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3room_keyskeys
func (a *API) getBackedUpKeys(r *http.Request, u *httpapi.Requester) (any, error) {
	version, roomID, sessionID, err := backupOf(r)
	if err != nil {
		return nil, err
	}
	if _, err := a.db.GetKeyBackup(r.Context(), u.UserID, version); err != nil {
		return nil, noBackup(err)
	}
	each := func(do func(*storage.BackedUpKey) error) error {
		return a.db.EachBackedUpKey(r.Context(), u.UserID, version, roomID, sessionID, do)
	}
	if sessionID != "" {
		var answer any
		err := each(func(k *storage.BackedUpKey) error { answer = describeKey(k); return nil })
		if err == nil && answer == nil {
			err = httpapi.NotFound("There is no such key in the backup")
		}
		return answer, err
	}
	return &httpapi.Reply{Header: http.Header{"Content-Type": {"application/json"}}, Write: func(w http.ResponseWriter) error {
		return writeBackedUpKeys(w, roomID, each)
	}}, nil
}

func describeKey(k *storage.BackedUpKey) backedUpKey {
	return backedUpKey{&k.FirstMessageIndex, &k.ForwardedCount, &k.IsVerified, k.Data}
}

// writeBackedUpKeys writes keys as they are read: a backup may be larger than what one
// request should hold in memory.
func writeBackedUpKeys(to http.ResponseWriter, roomID string, each func(func(*storage.BackedUpKey) error) error) error {
	w := bufio.NewWriterSize(to, 32<<10)
	if roomID == "" {
		w.WriteString(`{"rooms":{`)
	} else {
		w.WriteString(`{"sessions":{`)
	}
	room, first := roomID, true
	err := each(func(k *storage.BackedUpKey) error {
		if k.RoomID != room {
			if room != "" {
				w.WriteString("}},")
			}
			name, _ := json.Marshal(k.RoomID) // text always can
			w.Write(name)
			w.WriteString(`:{"sessions":{`)
			room, first = k.RoomID, true
		}
		if !first {
			w.WriteByte(',')
		}
		first = false
		name, _ := json.Marshal(k.SessionID)
		w.Write(name)
		w.WriteByte(':')
		value, err := json.Marshal(describeKey(k))
		if err != nil {
			return err
		}
		_, err = w.Write(value) // remembers earlier errors
		return err
	})
	if err != nil {
		return err
	}
	if roomID == "" && room != "" {
		w.WriteString("}}")
	}
	w.WriteString("}}")
	return w.Flush()
}
