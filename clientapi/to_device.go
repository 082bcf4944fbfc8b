package clientapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"

	"hearth/internal/canonicaljson"
	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	// maxToDevice bounds the messages of one request, and maxWaiting what may wait
	// for a device that doesn't sync.
	maxToDevice, maxWaiting = 5000, 100_000
	// maxToDeviceBytes bounds one message's content.
	maxToDeviceBytes = 64 << 10
)

// readAgain is a body that was read already.
func readAgain(body []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(body)) }

// putSendToDevice answers PUT /_matrix/client/v3/sendToDevice/{eventType}/{txnId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3sendtodeviceeventtypetxnid
func (a *API) putSendToDevice(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		Messages map[string]map[string]json.RawMessage `json:"messages"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	if body.Messages == nil {
		return nil, httpapi.MissingParam("messages is missing")
	}
	eventType := httpapi.Var(r, "eventType")
	if len(eventType) > maxKeyID {
		return nil, httpapi.InvalidParam("The type is longer than %d bytes", maxKeyID)
	}
	messages, err := a.addressed(r.Context(), u.UserID, eventType, body.Messages)
	if err != nil || len(messages) == 0 {
		return nil, err
	}
	key := toDeviceTxn(u, eventType, httpapi.Var(r, "txnId"))
	fresh, err := a.db.TakeToDeviceTxn(r.Context(), key)
	if err != nil || !fresh {
		return nil, err
	}
	if err := a.db.Stream.Append(r.Context(), &storage.Change{ToDevice: messages}); err != nil {
		// Not stored: the client's repetition must not be taken for done.
		if undo := a.db.ForgetToDeviceTxn(context.WithoutCancel(r.Context()), key); undo != nil {
			a.log.Error("forgetting a to-device transaction failed", "err", undo)
		}
		return nil, err
	}
	return nil, nil
}

func toDeviceTxn(u *httpapi.Requester, eventType, txnID string) (key [16]byte) {
	sum := sha256.Sum256([]byte(u.UserID + "\x00" + u.DeviceID + "\x00" + eventType + "\x00" + txnID))
	copy(key[:], sum[:])
	return key
}

// addressed makes one message per device; "*" stands for all of a user's.
func (a *API) addressed(ctx context.Context, sender, eventType string, wanted map[string]map[string]json.RawMessage) ([]storage.ToDevice, error) {
	var users []string
	for userID := range wanted {
		if isText(userID) {
			users = append(users, userID)
		}
	}
	ids, err := a.db.DeviceIDs(ctx, users)
	if err != nil {
		return nil, err
	}
	var messages []storage.ToDevice
	for userID, devices := range wanted {
		waiting, err := a.db.CountToDevice(ctx, userID)
		if err != nil {
			return nil, err
		}
		for _, deviceID := range ids[userID] {
			content, ok := devices[deviceID]
			if !ok {
				content, ok = devices["*"]
			}
			if !ok || waiting[deviceID] >= maxWaiting {
				continue
			}
			event, err := toDeviceEvent(sender, eventType, content)
			if err != nil {
				return nil, err
			}
			if messages = append(messages, storage.ToDevice{UserID: userID, DeviceID: deviceID, Content: event}); len(messages) > maxToDevice {
				return nil, httpapi.InvalidParam("There are messages to more than %d devices", maxToDevice)
			}
		}
	}
	return messages, nil
}

func toDeviceEvent(sender, eventType string, content json.RawMessage) ([]byte, error) {
	if len(content) > maxToDeviceBytes {
		return nil, httpapi.TooLarge("A message to a device is longer than %d bytes", maxToDeviceBytes)
	}
	if trimmed := bytes.TrimSpace(content); len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, httpapi.BadJSON("The content of a message to a device must be an object")
	}
	b := append([]byte(`{"content":`), content...)
	b = canonicaljson.AppendString(append(b, `,"sender":`...), sender)
	b = canonicaljson.AppendString(append(b, `,"type":`...), eventType)
	return append(b, '}'), nil
}
