package federationapi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"hearth/internal/httpapi"
	"hearth/internal/todevice"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

const (
	// typingFor is how long a user of another server is shown as typing, unless that
	// server says otherwise.
	typingFor = time.Minute
	// maxReceipts and maxPresence bound what is taken of one EDU, maxMessageID and maxType
	// the texts in it, in bytes.
	maxReceipts, maxPresence = 1000, 500
	maxMessageID, maxType    = 255, 255
	// maxToDevice bounds the devices that one EDU is for, and maxToDeviceBytes what is for
	// one of them.
	maxToDevice, maxToDeviceBytes = 5000, 64 << 10
)

// receivedEDU is an EDU of another server.
type receivedEDU struct {
	Type    string          `json:"edu_type"`
	Content json.RawMessage `json:"content"`
}

// takeEDUs takes in those EDUs of a transaction that concern encryption, which come
// before its events, or the others, which may refer to those. What is wrong with one is
// its sender's concern alone; an error is this server's own, and the transaction is to be
// sent again.
func (a *API) takeEDUs(ctx context.Context, origin string, list []json.RawMessage, encryption bool) error {
	for _, text := range list {
		var e receivedEDU
		if err := json.Unmarshal(text, &e); err != nil || httpapi.Depth(text) > httpapi.MaxDepth {
			continue
		}
		take := a.eduHandler(e.Type, encryption)
		if take == nil {
			continue
		}
		err := take(ctx, origin, e.Content)
		var bad *httpapi.Error
		if errors.As(err, &bad) && !isOwnTrouble(err) {
			a.log.Debug("an EDU was dropped", "origin", origin, "type", e.Type, "err", err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *API) eduHandler(eduType string, encryption bool) func(ctx context.Context, origin string, content json.RawMessage) error {
	if encryption {
		switch eduType {
		case "m.direct_to_device":
			return a.takeToDevice
		case "m.device_list_update":
			return a.takeDeviceUpdate
		case "m.signing_key_update", "org.matrix.signing_key_update":
			return a.takeSigningKeys
		}
		return nil
	}
	switch eduType {
	case "m.typing":
		return a.takeTyping
	case "m.receipt":
		return a.takeReceipts
	case "m.presence":
		return a.takePresence
	}
	return nil
}

// checkUser makes sure that a server speaks for its own users only.
func checkUser(origin, userID string) error {
	if !userid.IsLocal(userID, origin) {
		return httpapi.Forbidden("%.255q is no user of %s", userID, origin)
	}
	return nil
}

// eduRoom is the room of an EDU, in which this server is and the other one may be.
func (a *API) eduRoom(ctx context.Context, origin, roomID string) (*roomserver.View, error) {
	v, err := a.rooms.View(ctx, roomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return nil, httpapi.NotFound("There is no such room here")
	}
	if err != nil {
		return nil, err
	}
	allowed, err := a.rooms.ServerAllowed(ctx, v, origin)
	if err == nil && !allowed {
		err = httpapi.Forbidden("The room's access control list bars %s", origin)
	}
	return v, err
}

// takeTyping takes in who types.
//
// https://spec.matrix.org/v1.19/server-server-api/#typing-notifications
func (a *API) takeTyping(ctx context.Context, origin string, content json.RawMessage) error {
	var c struct {
		RoomID string `json:"room_id"`
		UserID string `json:"user_id"`
		Typing bool   `json:"typing"`
	}
	if err := decode(content, &c); err != nil {
		return err
	}
	if err := checkUser(origin, c.UserID); err != nil {
		return err
	}
	v, err := a.eduRoom(ctx, origin, c.RoomID)
	if err != nil {
		return err
	}
	if !a.rooms.MayBeIn(v, c.UserID) {
		return httpapi.Forbidden("%s isn't in the room", c.UserID)
	}
	until := time.Time{}
	if c.Typing {
		until = time.Now().Add(typingFor)
	}
	if a.o.ShowTyping != nil {
		a.o.ShowTyping(v.Room.NID, v.Room.ID, c.UserID, until)
	}
	return nil
}

// takeReceipts takes in what was read.
//
// https://spec.matrix.org/v1.19/server-server-api/#receipts
func (a *API) takeReceipts(ctx context.Context, origin string, content json.RawMessage) error {
	var rooms map[string]struct {
		Read map[string]struct {
			EventIDs []string `json:"event_ids"`
			Data     struct {
				TS       int64  `json:"ts"`
				ThreadID string `json:"thread_id"`
			} `json:"data"`
		} `json:"m.read"`
	}
	if err := decode(content, &rooms); err != nil {
		return err
	}
	var c storage.Change
	for roomID, room := range rooms {
		v, err := a.eduRoom(ctx, origin, roomID)
		var refused *httpapi.Error
		if errors.As(err, &refused) {
			continue
		}
		if err != nil {
			return err
		}
		for userID, r := range room.Read {
			thread := r.Data.ThreadID
			if checkUser(origin, userID) != nil || !a.rooms.MayBeIn(v, userID) || len(r.EventIDs) == 0 || len(c.Receipts) == maxReceipts ||
				thread != "" && (len(thread) > maxID || !httpapi.IsText(thread)) {
				continue
			}
			receipt, err := a.newReceipt(ctx, v, userID, thread, r.EventIDs[len(r.EventIDs)-1])
			if err != nil {
				return err
			}
			if receipt != nil {
				receipt.TS = r.Data.TS
				c.Receipts = append(c.Receipts, *receipt)
			}
		}
	}
	if len(c.Receipts) == 0 {
		return nil
	}
	return a.db.Stream.Append(ctx, &c)
}

// newReceipt is a receipt of a user of another server, nil if it is nothing new. The
// event may be still on its way here from a third server; then it counts as one that
// comes after all that are here.
func (a *API) newReceipt(ctx context.Context, v *roomserver.View, userID, thread, eventID string) (*storage.Receipt, error) {
	if len(eventID) > maxID || !httpapi.IsText(eventID) {
		return nil, nil
	}
	r := &storage.Receipt{RoomNID: v.Room.NID, RoomID: v.Room.ID, UserID: userID, Type: "m.read", ThreadID: thread, EventID: eventID}
	e, err := a.rooms.EventByID(ctx, v.Room.ID, eventID)
	switch {
	case err == nil && e.Position > 0:
		r.EventPosition = e.Position
	case err == nil || errors.Is(err, storage.ErrNotFound):
		r.EventPosition = v.Room.LatestPosition
	default:
		return nil, err
	}
	old, err := a.db.UserReceipt(ctx, v.Room.NID, userID, r.Type, thread)
	if errors.Is(err, storage.ErrNotFound) {
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	if old.EventPosition > r.EventPosition || old.EventID == eventID {
		return nil, nil
	}
	return r, nil
}

// takePresence takes in who is online, of those who share a room with this server.
//
// https://spec.matrix.org/v1.19/server-server-api/#presence
func (a *API) takePresence(ctx context.Context, origin string, content json.RawMessage) error {
	var c struct {
		Push []struct {
			UserID        string `json:"user_id"`
			Presence      string `json:"presence"`
			StatusMsg     string `json:"status_msg"`
			LastActiveAgo int64  `json:"last_active_ago"`
		} `json:"push"`
	}
	if err := decode(content, &c); err != nil || !a.o.PresenceEnabled {
		return err
	}
	var users []string
	for _, p := range c.Push[:min(len(c.Push), maxPresence)] {
		if checkUser(origin, p.UserID) == nil {
			users = append(users, p.UserID)
		}
	}
	shared, err := a.sharedRooms(ctx, users)
	if err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	var change storage.Change
	for _, p := range c.Push[:min(len(c.Push), maxPresence)] {
		switch p.Presence {
		case "online", "offline", "unavailable":
		default:
			continue
		}
		if len(shared[p.UserID]) == 0 || len(p.StatusMsg) > maxStatus || !httpapi.IsText(p.StatusMsg) {
			continue
		}
		change.Presence = append(change.Presence, storage.Presence{UserID: p.UserID, State: p.Presence, StatusMsg: p.StatusMsg,
			LastActiveTS: now - max(0, min(p.LastActiveAgo, now)), Rooms: shared[p.UserID]})
	}
	if len(change.Presence) == 0 {
		return nil
	}
	return a.db.Stream.Append(ctx, &change)
}

// maxStatus bounds a status message, in bytes.
const maxStatus = 1000

// sharedRooms returns the rooms that each user of another server is in together with
// users of this one.
func (a *API) sharedRooms(ctx context.Context, users []string) (map[string][]int64, error) {
	if len(users) == 0 {
		return nil, nil
	}
	joined, err := a.db.RoomsOfUsers(ctx, users)
	if err != nil {
		return nil, err
	}
	shared := map[string][]int64{}
	here := map[int64]bool{}
	for userID, rooms := range joined {
		for _, r := range rooms {
			in, known := here[r.NID]
			if !known {
				servers, err := a.sender.serversIn(ctx, r.ID)
				if err != nil {
					return nil, err
				}
				in = servers[a.serverName] > 0
				here[r.NID] = in
			}
			if in {
				shared[userID] = append(shared[userID], r.NID)
			}
		}
	}
	return shared, nil
}

// takeToDevice takes in messages to devices, once.
//
// https://spec.matrix.org/v1.19/server-server-api/#mdirect_to_device
func (a *API) takeToDevice(ctx context.Context, origin string, content json.RawMessage) error {
	var c struct {
		Sender    string                                `json:"sender"`
		Type      string                                `json:"type"`
		MessageID string                                `json:"message_id"`
		Messages  map[string]map[string]json.RawMessage `json:"messages"`
	}
	if err := decode(content, &c); err != nil {
		return err
	}
	if err := checkUser(origin, c.Sender); err != nil {
		return err
	}
	if c.Type == "" || len(c.Type) > maxType || c.MessageID == "" || len(c.MessageID) > maxMessageID {
		return httpapi.InvalidParam("The message has no type or id, or too long ones")
	}
	var users []string
	n := 0
	for userID, devices := range c.Messages {
		if !userid.IsLocal(userID, a.serverName) {
			continue
		}
		users = append(users, userID)
		for _, content := range devices {
			if n++; n > maxToDevice || len(content) > maxToDeviceBytes || len(content) == 0 || content[0] != '{' {
				return httpapi.InvalidParam("The messages are too many or too large, or no objects")
			}
		}
	}
	if c.Type == "m.room.encrypted" {
		if err := a.suspectUnknown(ctx, c.Sender, c.Messages); err != nil {
			return err
		}
	}
	messages, err := todevice.Local(ctx, a.db, c.Sender, c.Type, users, c.Messages)
	if err != nil || len(messages) == 0 {
		return err
	}
	name := sha256.Sum256([]byte("federation\x00" + origin + "\x00" + c.Sender + "\x00" + c.MessageID))
	return a.db.Stream.Append(ctx, &storage.Change{ToDevice: messages, ToDeviceTxn: (*[16]byte)(name[:])})
}
