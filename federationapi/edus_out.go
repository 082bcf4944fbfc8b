package federationapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/tidwall/gjson"

	"hearth/internal/canonicaljson"
	"hearth/internal/devicekeys"
	"hearth/storage"
)

// edu is an ephemeral data unit.
//
// https://spec.matrix.org/v1.19/server-server-api/#edus
type edu struct {
	Type    string `json:"edu_type"`
	Content any    `json:"content"`
}

// edus makes the EDUs of a transaction.
func (s *sender) edus(ctx context.Context, t *transaction) ([]json.RawMessage, error) {
	var list []edu
	var devices []storage.Position
	var handed []*storage.DeviceListChange
	for _, o := range t.taken {
		switch {
		case o.device != nil && o.handover != nil:
			handed = append(handed, o.device)
		case o.toDevice != nil:
			list = append(list, edu{"m.direct_to_device", json.RawMessage(o.toDevice.Content)})
		case o.device != nil:
			devices = append(devices, o.at)
		}
	}
	changed, err := s.deviceEDUs(ctx, devices, handed)
	if err != nil {
		return nil, err
	}
	list = append(list, changed...)
	list = append(append(list, receiptEDUs(t.taken)...), presenceEDUs(t.taken)...)
	encoded := make([]json.RawMessage, 0, len(list))
	for _, e := range list {
		text, err := json.Marshal(e)
		if err != nil {
			return nil, fmt.Errorf("writing an EDU: %w", err)
		}
		encoded = append(encoded, text)
	}
	return encoded, nil
}

// receiptEDUs makes as few EDUs as hold all receipts: in each, a user has one of a room.
//
// https://spec.matrix.org/v1.19/server-server-api/#receipts
func receiptEDUs(taken []*outgoing) (list []edu) {
	type data struct {
		TS       int64  `json:"ts"`
		ThreadID string `json:"thread_id,omitempty"`
	}
	type receipt struct {
		Data     data     `json:"data"`
		EventIDs []string `json:"event_ids"`
	}
	type byUser map[string]receipt
	var parts []map[string]map[string]byUser // by room and type
next:
	for _, o := range taken {
		r := o.receipt
		if r == nil {
			continue
		}
		sent := receipt{data{r.TS, r.ThreadID}, []string{r.EventID}}
		for _, part := range parts {
			of := part[r.RoomID]
			if of == nil {
				part[r.RoomID] = map[string]byUser{r.Type: {r.UserID: sent}}
				continue next
			}
			if old, taken := of[r.Type][r.UserID]; !taken || old.Data.ThreadID == r.ThreadID {
				of[r.Type][r.UserID] = sent
				continue next
			}
		}
		parts = append(parts, map[string]map[string]byUser{r.RoomID: {r.Type: {r.UserID: sent}}})
	}
	for _, part := range parts {
		list = append(list, edu{"m.receipt", part})
	}
	return list
}

// presenceEDUs makes one EDU of the newest presence of each user.
//
// https://spec.matrix.org/v1.19/server-server-api/#presence
func presenceEDUs(taken []*outgoing) []edu {
	newest := map[string]*storage.Presence{}
	for _, o := range taken {
		if o.presence != nil {
			newest[o.presence.UserID] = o.presence
		}
	}
	if len(newest) == 0 {
		return nil
	}
	now := time.Now().UnixMilli()
	push := []map[string]any{}
	for _, p := range newest {
		one := map[string]any{"user_id": p.UserID, "presence": p.State, "last_active_ago": max(0, now-p.LastActiveTS),
			"currently_active": p.State == "online"}
		if p.StatusMsg != "" {
			one["status_msg"] = p.StatusMsg
		}
		push = append(push, one)
	}
	return []edu{{"m.presence", map[string]any{"push": push}}}
}

// deviceEDUs tells of changed devices and cross-signing keys, and of some that haven't
// changed. What has changed again since is told later.
//
// https://spec.matrix.org/v1.19/server-server-api/#device-management
func (s *sender) deviceEDUs(ctx context.Context, at []storage.Position, handed []*storage.DeviceListChange) (list []edu, err error) {
	if len(at)+len(handed) == 0 {
		return nil, nil
	}
	changes, err := s.deviceChanges(ctx, at, handed)
	if err != nil {
		return nil, err
	}
	var users []string
	for _, c := range changes {
		users = append(users, c.UserID)
	}
	keys, err := devicekeys.Find(ctx, s.a.db, users, "")
	if err != nil {
		return nil, err
	}
	for _, c := range changes {
		if c.DeviceID == "" {
			list = append(list, signingKeyEDUs(keys, c.UserID)...)
			continue
		}
		update := map[string]any{"user_id": c.UserID, "device_id": c.DeviceID, "stream_id": c.Position, "prev_id": []storage.Position{}}
		if c.Previous > 0 {
			update["prev_id"] = []storage.Position{c.Previous}
		}
		if raw := keys.Devices[c.UserID][c.DeviceID]; raw != nil {
			update["keys"] = raw
			if name := gjson.GetBytes(raw, "unsigned.device_display_name").Str; name != "" {
				update["device_display_name"] = name
			}
		} else if d, err := s.a.db.GetDevice(ctx, c.UserID, c.DeviceID); err == nil {
			update["device_display_name"] = d.DisplayName // it can't decrypt anything
		} else if errors.Is(err, storage.ErrNotFound) {
			update["deleted"] = true
		} else {
			return nil, err
		}
		list = append(list, edu{"m.device_list_update", update})
	}
	return list, nil
}

// deviceChanges are those at some positions, and the last ones of some devices: of one that has
// no keys, when it is handed over.
func (s *sender) deviceChanges(ctx context.Context, at []storage.Position, handed []*storage.DeviceListChange) ([]storage.DeviceChange, error) {
	changes, err := s.a.db.DeviceChangesAt(ctx, at)
	if err != nil || len(handed) == 0 {
		return changes, err
	}
	var users []string
	for _, d := range handed {
		users = append(users, d.UserID)
	}
	known, err := s.a.db.DeviceChangesOf(ctx, users, 0)
	for _, d := range handed {
		last := storage.DeviceChange{Position: d.Position, UserID: d.UserID, DeviceID: d.DeviceID}
		for _, c := range known {
			if c.UserID == d.UserID && c.DeviceID == d.DeviceID {
				last = c
			}
		}
		changes = append(changes, last)
	}
	return changes, err
}

// signingKeyEDUs are two: some servers know only the name from before it was specified.
func signingKeyEDUs(keys *devicekeys.Keys, userID string) []edu {
	update := map[string]any{"user_id": userID}
	for usage, name := range map[string]string{"master": "master_key", "self_signing": "self_signing_key"} {
		if key := keys.Cross[usage][userID]; key != nil {
			update[name] = key
		}
	}
	if len(update) == 1 {
		return nil
	}
	return []edu{{"m.signing_key_update", update}, {"org.matrix.signing_key_update", update}}
}

// typist is somebody in a room.
type typist struct{ room, user string }

// typingNote is whether they type.
type typingNote bool

// maxTypists bounds what a server is to be told of who types.
const maxTypists = 50

// Typing tells the other servers in a room that one of this server's users begins, goes
// on or ceases to type. It doesn't wait, and what can't be told at once isn't told.
//
// https://spec.matrix.org/v1.19/server-server-api/#typing-notifications
func (a *API) Typing(ctx context.Context, roomID, userID string, typing bool) {
	servers, err := a.sender.serversIn(ctx, roomID)
	if err != nil {
		a.log.Debug("who types can't be told", "room", roomID, "err", err)
		return
	}
	s := a.sender
	// Nothing up to settled concerned those that weren't met before.
	from := map[string]storage.Position{}
	for server := range servers {
		from[server] = s.settled.Load()
	}
	if err := s.meet(from); err != nil {
		a.log.Debug("servers can't be told who types", "room", roomID, "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for server := range servers {
		d := s.servers[server]
		if d == nil || d.state == paused || len(d.typing) >= maxTypists {
			continue
		}
		if d.typing == nil {
			d.typing = map[typist]typingNote{}
		}
		d.typing[typist{roomID, userID}] = typingNote(typing)
		if d.state == idle {
			if !d.isQuiet {
				d.cursor = max(d.cursor, s.settled.Load())
			}
			s.queue(d)
		}
	}
}

// takeTyping takes what the server is to be told of who types, at most n.
func (s *sender) takeTyping(d *destination, n int) (list []json.RawMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for who, typing := range d.typing {
		if len(list) >= n {
			break
		}
		delete(d.typing, who)
		b := canonicaljson.AppendString([]byte(`{"edu_type":"m.typing","content":{"room_id":`), who.room)
		b = canonicaljson.AppendString(append(b, `,"user_id":`...), who.user)
		b = strconv.AppendBool(append(b, `,"typing":`...), bool(typing))
		list = append(list, append(b, `}}`...))
	}
	return list
}
