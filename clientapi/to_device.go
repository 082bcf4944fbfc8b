package clientapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/internal/todevice"
	"hearth/internal/userid"
	"hearth/storage"
)

const (
	// maxToDevice bounds the devices of one request.
	maxToDevice = 5000
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
	c, err := a.addressed(r.Context(), u.UserID, eventType, body.Messages)
	if err != nil || len(c.ToDevice)+len(c.RemoteToDevice) == 0 {
		return nil, err
	}
	c.ToDeviceTxn = toDeviceTxn(u, eventType, httpapi.Var(r, "txnId"))
	return nil, a.db.Stream.Append(r.Context(), c)
}

func toDeviceTxn(u *httpapi.Requester, eventType, txnID string) *[16]byte {
	sum := sha256.Sum256([]byte(u.UserID + "\x00" + u.DeviceID + "\x00" + eventType + "\x00" + txnID))
	return (*[16]byte)(sum[:])
}

// addressed makes one message per device of this server; "*" stands for all of a
// user's. What is for users of other servers is left to theirs to tell apart.
func (a *API) addressed(ctx context.Context, sender, eventType string, wanted map[string]map[string]json.RawMessage) (*storage.Change, error) {
	remote := map[string]map[string]map[string]json.RawMessage{}
	var users []string
	n := 0
	for userID, devices := range wanted {
		if !isText(userID) {
			continue
		}
		if n += len(devices); n > maxToDevice {
			return nil, httpapi.InvalidParam("There are messages to more than %d devices", maxToDevice)
		}
		for _, content := range devices {
			if err := checkToDevice(content); err != nil {
				return nil, err
			}
		}
		if server := userid.Domain(userID); server != a.serverName {
			if remote[server] == nil {
				remote[server] = map[string]map[string]json.RawMessage{}
			}
			remote[server][userID] = devices
			continue
		}
		users = append(users, userID)
	}
	c := &storage.Change{}
	var err error
	if c.ToDevice, err = todevice.Local(ctx, a.db, sender, eventType, users, wanted); err != nil || a.o.Federation == nil {
		return c, err
	}
	c.RemoteToDevice, err = todevice.Remote(ctx, a.db, sender, eventType, remote)
	return c, err
}

func checkToDevice(content json.RawMessage) error {
	if len(content) > maxToDeviceBytes {
		return httpapi.TooLarge("A message to a device is longer than %d bytes", maxToDeviceBytes)
	}
	if trimmed := bytes.TrimSpace(content); len(trimmed) == 0 || trimmed[0] != '{' {
		return httpapi.BadJSON("The content of a message to a device must be an object")
	}
	return nil
}
