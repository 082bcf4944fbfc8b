package syncapi

import (
	"context"
	"maps"
	"slices"
	"sort"
	"strconv"

	"hearth/storage"
)

const (
	// maxMessages bounds the messages to the device in one answer; the token says
	// that more are waiting.
	maxMessages = 100
	// maxDeviceLog bounds the changes of device lists that are kept in memory.
	maxDeviceLog = 10_000
)

// deviceLists tells whose devices the client has to ask for again, and whose are
// no longer of interest.
type deviceLists struct{ changed, left map[string]bool }

func (d *deviceLists) empty() bool { return len(d.changed)+len(d.left) == 0 }

func (d *deviceLists) add(userID string) {
	if d.changed == nil {
		d.changed = map[string]bool{}
	}
	d.changed[userID] = true
}

// followDevices takes over messages to devices and changed device lists.
func (h *hub) followDevices(c *storage.Change) {
	for _, m := range c.ToDevice {
		if u := h.users[m.UserID]; u != nil {
			u.toDevice[m.DeviceID] = m.Position
			h.concerns(u, m.Position)
		}
	}
	for _, l := range c.DeviceLists {
		if len(h.deviceLog) >= maxDeviceLog {
			h.deviceLogFrom = h.deviceLog[maxDeviceLog/2-1].position
			h.deviceLog = slices.Clone(h.deviceLog[maxDeviceLog/2:])
		}
		h.deviceLog = append(h.deviceLog, userChange{l.Position, l.UserID})
		h.tellSharers(l.UserID, l.Position)
	}
	if len(c.DeviceLists) > 0 {
		select {
		case h.devicesToFind <- struct{}{}:
		default:
		}
	}
}

// tellSharers makes something of one user's news to everybody who shares a room
// with them and syncs.
func (h *hub) tellSharers(userID string, p storage.Position) {
	told := map[*user]bool{}
	for _, r := range h.rooms {
		if len(r.watchers) == 0 || r.view == nil || !h.o.Rooms.MayBeIn(r.view, userID) {
			continue
		}
		for w := range r.watchers {
			if !told[w] {
				told[w] = true
				h.concerns(w, p)
			}
		}
	}
	if u := h.users[userID]; u != nil && !told[u] {
		h.concerns(u, p)
	}
}

// shootDevices collects whose devices changed since the token, as far as memory
// knows. The hub's lock is held.
func (q *request) shootDevices(m *moment) {
	if q.initial {
		return
	}
	log := q.api.hub.deviceLog
	for i := sort.Search(len(log), func(i int) bool { return log[i].position > q.since.Position }); i < len(log); i++ {
		if q.shares(log[i].userID) {
			m.devices.add(log[i].userID)
		}
	}
}

// loadDevices reads the messages to the device, and whose devices changed.
func (q *request) loadDevices(ctx context.Context, m *moment) error {
	db, device := q.api.db, q.requester.DeviceID
	if m.mayHaveMessages {
		if !q.initial {
			// What the token acknowledges isn't needed again.
			if err := db.DeleteToDevice(ctx, q.u.id, device, q.since.ToDevice); err != nil {
				return err
			}
		}
		var err error
		m.messages, err = db.ListToDevice(ctx, q.u.id, device, q.since.ToDevice, m.token.Position, maxMessages)
		if err != nil {
			return err
		}
		if len(m.messages) == maxMessages {
			m.token.ToDevice = m.messages[maxMessages-1].Position
		}
	}
	return q.loadDeviceLists(ctx, m)
}

// loadDeviceLists reads the changes of device lists from before memory begins.
func (q *request) loadDeviceLists(ctx context.Context, m *moment) error {
	h := q.api.hub
	h.mu.RLock()
	from := h.deviceLogFrom
	h.mu.RUnlock()
	if q.initial || q.since.Position >= from {
		return nil
	}
	changed, err := q.api.db.DeviceListsChanged(ctx, q.since.Position, m.token.Position)
	if err != nil {
		return err
	}
	h.mu.RLock()
	defer h.mu.RUnlock()
	for _, userID := range changed {
		if q.shares(userID) {
			m.devices.add(userID)
		}
	}
	return nil
}

func (d *deviceLists) append(b []byte) []byte {
	if d.empty() {
		return b
	}
	return append(d.appendLists(append(b, `,"device_lists":{`...)), '}')
}

// appendLists appends the two members of the object.
func (d *deviceLists) appendLists(b []byte) []byte {
	b = append(b, `"changed":[`...)
	for _, id := range slices.Sorted(maps.Keys(d.changed)) {
		b = appendJSON(comma(b), id)
	}
	b = append(b, `],"left":[`...)
	for _, id := range slices.Sorted(maps.Keys(d.left)) {
		b = appendJSON(comma(b), id)
	}
	return append(b, ']')
}

func appendToDevice(b []byte, messages []storage.ToDevice) []byte {
	if len(messages) == 0 {
		return b
	}
	return append(appendMessages(append(b, `,"to_device":{"events":[`...), messages), `]}`...)
}

// appendKeyCounts tells the device what it has in stock; signed_curve25519 is
// always named, because clients take its absence for something else.
func appendKeyCounts(b []byte, c storage.KeyCounts) []byte {
	b = append(comma(b), `"device_one_time_keys_count":{"signed_curve25519":`...)
	b = strconv.AppendInt(b, int64(c.OneTime["signed_curve25519"]), 10)
	for algorithm, n := range c.OneTime {
		if algorithm != "signed_curve25519" {
			b = append(appendJSON(append(b, ','), algorithm), ':')
			b = strconv.AppendInt(b, int64(n), 10)
		}
	}
	b = append(b, `},"device_unused_fallback_key_types":[`...)
	for _, algorithm := range c.Fallback {
		b = appendJSON(comma(b), algorithm)
	}
	return append(b, ']')
}

func appendMessages(b []byte, messages []storage.ToDevice) []byte {
	for _, m := range messages {
		b = append(comma(b), m.Content...)
	}
	return b
}
