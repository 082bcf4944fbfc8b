package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"hearth/federationapi/client"
	"hearth/internal/devicekeys"
	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

const (
	// maxUsersAsked bounds the users of one question to a server, and maxServersAsked how
	// many servers are asked at once for one request.
	maxUsersAsked, maxServersAsked = 250, 16
	// maxDevices bounds the devices of a user that are believed, and maxDeviceKeys the keys
	// of one, in bytes.
	maxDevices, maxDeviceKeys = 1000, 16 << 10
	// trustedFor is how long what is known of devices is believed without asking again.
	trustedFor = 7 * 24 * time.Hour
)

// gathered is which servers couldn't be asked, and why, of several.
type gathered struct {
	mu       sync.Mutex
	failures map[string]any
}

func (g *gathered) fail(server string, err error) {
	e := map[string]any{"status": 503, "message": "The server can't be reached"}
	var refused *client.RemoteError
	if errors.As(err, &refused) {
		e = map[string]any{"status": refused.Status, "errcode": refused.Code, "message": refused.Message}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.failures[server] = e
}

// askServers asks several servers at once, each within the time.
func (a *API) askServers(ctx context.Context, servers []string, timeout time.Duration, ask func(ctx context.Context, server string) error) map[string]any {
	g := &gathered{failures: map[string]any{}}
	turn := make(chan struct{}, maxServersAsked)
	var all sync.WaitGroup
	for _, server := range servers {
		turn <- struct{}{}
		all.Go(func() {
			defer func() { <-turn }()
			ctx, cancel := context.WithTimeout(ctx, timeout)
			defer cancel()
			if err := ask(ctx, server); err != nil {
				g.fail(server, err)
			}
		})
	}
	all.Wait()
	return g.failures
}

func byServer(users []string) map[string][]string {
	of := map[string][]string{}
	for _, userID := range users {
		server := userid.Domain(userID)
		of[server] = append(of[server], userID)
	}
	return of
}

// QueryKeys returns the keys of users of other servers: what is known, if it is certain
// to be up to date, and what their servers say.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysquery
func (a *API) QueryKeys(ctx context.Context, users []string, timeout time.Duration) (*devicekeys.Keys, map[string]any, error) {
	known, err := a.db.RemoteDeviceLists(ctx, users)
	if err != nil {
		return nil, nil, err
	}
	shared, err := a.sharedRooms(ctx, users)
	if err != nil {
		return nil, nil, err
	}
	keys := &devicekeys.Keys{Devices: map[string]map[string]json.RawMessage{}, Cross: map[string]map[string]json.RawMessage{}}
	var unknown []string
	trusted := time.Now().Add(-trustedFor).UnixMilli()
	for _, userID := range users {
		l := known[userID]
		if l != nil && !l.Stale && l.CheckedAt > trusted && len(shared[userID]) > 0 && a.lists.swept.Load() {
			addList(keys, l)
		} else {
			unknown = append(unknown, userID)
		}
	}
	var mu sync.Mutex
	of := byServer(unknown)
	failures := a.askServers(ctx, slices.Collect(maps.Keys(of)), timeout, func(ctx context.Context, server string) error {
		for some := range slices.Chunk(of[server], maxUsersAsked) {
			lists, err := a.fetchLists(ctx, server, some, shared)
			mu.Lock()
			for _, userID := range some {
				if l := lists[userID]; l != nil {
					addList(keys, l)
				} else if l := known[userID]; l != nil && err != nil {
					addList(keys, l) // better than nothing; it is asked for again, and then told
				}
			}
			mu.Unlock()
			if err != nil {
				poke(a.lists.wake)
				return err
			}
		}
		return nil
	})
	return keys, failures, nil
}

func addList(keys *devicekeys.Keys, l *storage.RemoteDeviceList) {
	keys.Devices[l.UserID] = l.Devices
	for usage, key := range map[string]json.RawMessage{"master": l.Master, "self_signing": l.SelfSigning} {
		if key == nil {
			continue
		}
		if keys.Cross[usage] == nil {
			keys.Cross[usage] = map[string]json.RawMessage{}
		}
		keys.Cross[usage][l.UserID] = key
	}
}

// fetchLists asks a server for its users' keys, and keeps those of users who share a room
// with this server: only of them it will say when they change.
func (a *API) fetchLists(ctx context.Context, server string, users []string, shared map[string][]int64) (map[string]*storage.RemoteDeviceList, error) {
	var kept []string
	asked := map[string][]string{}
	for _, userID := range users {
		asked[userID] = []string{}
		if len(shared[userID]) > 0 {
			kept = append(kept, userID)
		}
	}
	if err := a.db.ExpectRemoteDeviceLists(ctx, kept); err != nil {
		return nil, err
	}
	before, err := a.db.RemoteDeviceLists(ctx, kept)
	if err != nil {
		return nil, err
	}
	var answer struct {
		DeviceKeys  map[string]map[string]json.RawMessage `json:"device_keys"`
		Master      map[string]json.RawMessage            `json:"master_keys"`
		SelfSigning map[string]json.RawMessage            `json:"self_signing_keys"`
	}
	if err := a.client.Post(ctx, server, "/_matrix/federation/v1/user/keys/query", map[string]any{"device_keys": asked}, &answer); err != nil {
		return nil, err
	}
	lists := map[string]*storage.RemoteDeviceList{}
	for _, userID := range users {
		l := &storage.RemoteDeviceList{UserID: userID, CheckedAt: time.Now().UnixMilli(), Devices: map[string]json.RawMessage{},
			Master: checkedCrossKey(userID, "master", answer.Master[userID]), SelfSigning: checkedCrossKey(userID, "self_signing", answer.SelfSigning[userID])}
		for id, raw := range answer.DeviceKeys[userID] {
			addDevice(l, id, raw)
		}
		lists[userID] = l
		if old := before[userID]; old != nil {
			l.Changes = old.Changes
			if err := a.db.SetRemoteDeviceList(ctx, l); err != nil {
				return lists, err
			}
		}
	}
	return lists, nil
}

// fetchDevices asks for a user's devices as the specification has it for who follows
// their changes.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1userdevicesuserid
func (a *API) fetchDevices(ctx context.Context, userID string) (*storage.RemoteDeviceList, error) {
	var answer struct {
		StreamID int64 `json:"stream_id"`
		Devices  []struct {
			DeviceID string          `json:"device_id"`
			Keys     json.RawMessage `json:"keys"`
		} `json:"devices"`
		Master      json.RawMessage `json:"master_key"`
		SelfSigning json.RawMessage `json:"self_signing_key"`
	}
	if err := a.client.Get(ctx, userid.Domain(userID), client.Path("/_matrix/federation/v1/user/devices", userID), &answer); err != nil {
		return nil, err
	}
	l := &storage.RemoteDeviceList{UserID: userID, StreamID: answer.StreamID, CheckedAt: time.Now().UnixMilli(), Devices: map[string]json.RawMessage{},
		Master: checkedCrossKey(userID, "master", answer.Master), SelfSigning: checkedCrossKey(userID, "self_signing", answer.SelfSigning)}
	for _, d := range answer.Devices {
		addDevice(l, d.DeviceID, d.Keys)
	}
	return l, nil
}

// addDevice adds a device to a list, if it may be one of the user's.
func addDevice(l *storage.RemoteDeviceList, deviceID string, keys json.RawMessage) {
	if len(l.Devices) < maxDevices && isDevice(l.UserID, deviceID, keys) {
		l.Devices[deviceID] = keys
	}
}

func isDevice(userID, deviceID string, keys json.RawMessage) bool {
	k := gjson.ParseBytes(keys)
	return len(keys) <= maxDeviceKeys && k.IsObject() && k.Get("user_id").Str == userID && k.Get("device_id").Str == deviceID &&
		deviceID != "" && len(deviceID) <= maxID && httpapi.IsText(string(keys)) && k.Get("keys").IsObject()
}

// checkedCrossKey is a cross-signing key if it may be the user's, else nil.
func checkedCrossKey(userID, usage string, raw json.RawMessage) json.RawMessage {
	k := gjson.ParseBytes(raw)
	if len(raw) > maxDeviceKeys || !k.IsObject() || k.Get("user_id").Str != userID || !strings.Contains(k.Get("usage").Raw, `"`+usage+`"`) ||
		len(k.Get("keys").Map()) != 1 || !httpapi.IsText(string(raw)) {
		return nil
	}
	return raw
}

// ClaimKeys takes one-time keys of devices of other servers' users.
//
// https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1userkeysclaim
func (a *API) ClaimKeys(ctx context.Context, asked map[string]map[string]string, timeout time.Duration) (map[string]map[string]map[string]json.RawMessage, map[string]any) {
	claimed := map[string]map[string]map[string]json.RawMessage{}
	var mu sync.Mutex
	of := byServer(slices.Collect(maps.Keys(asked)))
	failures := a.askServers(ctx, slices.Collect(maps.Keys(of)), timeout, func(ctx context.Context, server string) error {
		wanted := map[string]map[string]string{}
		for _, userID := range of[server] {
			wanted[userID] = asked[userID]
		}
		var answer struct {
			OneTimeKeys map[string]map[string]map[string]json.RawMessage `json:"one_time_keys"`
		}
		if err := a.client.Post(ctx, server, "/_matrix/federation/v1/user/keys/claim", map[string]any{"one_time_keys": wanted}, &answer); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for userID, devices := range answer.OneTimeKeys {
			for deviceID, keys := range devices {
				if _, ok := wanted[userID][deviceID]; !ok || len(keys) != 1 {
					continue
				}
				if claimed[userID] == nil {
					claimed[userID] = map[string]map[string]json.RawMessage{}
				}
				claimed[userID][deviceID] = keys
			}
		}
		return nil
	})
	return claimed, failures
}
