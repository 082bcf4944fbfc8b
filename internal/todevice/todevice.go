// Package todevice makes messages to devices, whether a client or another server
// sends them.
package todevice

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"hearth/internal/canonicaljson"
	"hearth/storage"
)

var dropped = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "hearth_to_device_dropped_total", Help: "Messages to devices that were dropped because too many wait for the device, or for the server."},
	[]string{"waiting_for"})

const (
	// maxWaiting bounds what may wait for a device that doesn't sync, and maxForServer
	// what may wait for a server that can't be reached.
	maxWaiting, maxForServer = 100_000, 500_000
	// maxEDU is how large a message to another server's devices becomes at most, unless
	// a single device's is larger, in bytes.
	maxEDU = 48 << 10
)

// Local makes one message per device of those users of this server who are named; "*"
// stands for all of a user's devices.
func Local(ctx context.Context, db *storage.DB, sender, eventType string, users []string, wanted map[string]map[string]json.RawMessage) ([]storage.ToDevice, error) {
	if len(users) == 0 {
		return nil, nil
	}
	ids, err := db.DeviceIDs(ctx, users)
	if err != nil {
		return nil, err
	}
	var messages []storage.ToDevice
	for _, userID := range users {
		waiting, err := db.CountToDevice(ctx, userID)
		if err != nil {
			return nil, err
		}
		for _, deviceID := range ids[userID] {
			content, ok := wanted[userID][deviceID]
			if !ok {
				content, ok = wanted[userID]["*"]
			}
			if !ok {
				continue
			}
			if waiting[deviceID] >= maxWaiting {
				dropped.WithLabelValues("device").Inc()
				continue
			}
			messages = append(messages, storage.ToDevice{UserID: userID, DeviceID: deviceID, Content: event(sender, eventType, content)})
		}
	}
	return messages, nil
}

// event is a message as the device gets it.
func event(sender, eventType string, content json.RawMessage) []byte {
	b := append([]byte(`{"content":`), content...)
	b = canonicaljson.AppendString(append(b, `,"sender":`...), sender)
	b = canonicaljson.AppendString(append(b, `,"type":`...), eventType)
	return append(b, '}')
}

// Remote makes messages to users of other servers, by server and user: several devices
// share one as long as it stays small.
//
// https://spec.matrix.org/v1.19/server-server-api/#mdirect_to_device
func Remote(ctx context.Context, db *storage.DB, sender, eventType string, byServer map[string]map[string]map[string]json.RawMessage) ([]storage.RemoteToDevice, error) {
	var list []storage.RemoteToDevice
	for server, users := range byServer {
		waiting, err := db.CountRemoteToDevice(ctx, server, maxForServer)
		if err != nil {
			return nil, err
		}
		if waiting >= maxForServer {
			dropped.WithLabelValues("server").Inc()
			continue
		}
		part, size := map[string]map[string]json.RawMessage{}, 0
		finish := func() error {
			if size == 0 {
				return nil
			}
			content, err := json.Marshal(map[string]any{"sender": sender, "type": eventType, "message_id": rand.Text(), "messages": part})
			if err != nil {
				return fmt.Errorf("writing messages to devices: %w", err)
			}
			list = append(list, storage.RemoteToDevice{Server: server, Content: content})
			part, size = map[string]map[string]json.RawMessage{}, 0
			return nil
		}
		for _, userID := range slices.Sorted(maps.Keys(users)) {
			for _, deviceID := range slices.Sorted(maps.Keys(users[userID])) {
				content := users[userID][deviceID]
				if size+len(content) > maxEDU {
					if err := finish(); err != nil {
						return nil, err
					}
				}
				if part[userID] == nil {
					part[userID] = map[string]json.RawMessage{}
				}
				part[userID][deviceID] = content
				size += len(content) + len(userID) + len(deviceID)
			}
		}
		if err := finish(); err != nil {
			return nil, err
		}
	}
	return list, nil
}
