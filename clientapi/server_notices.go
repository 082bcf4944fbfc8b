package clientapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"sync"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/roomserver"
	"hearth/storage"
)

// ServerNotices says how administrators write to users.
//
// https://spec.matrix.org/v1.19/client-server-api/#server-notices
type ServerNotices struct {
	// UserID is whom notices come from, "" for no notices.
	UserID                 string
	DisplayName, AvatarURL string
	// RoomName, RoomTopic and RoomAvatarURL are of the users' rooms, "" for none.
	RoomName, RoomTopic, RoomAvatarURL string
	// AutoJoin has users be in their rooms, rather than invited.
	AutoJoin bool
}

// notices are the rooms in which users get notices: one for each, which is made when there
// is a first one.
type notices struct {
	ServerNotices
	a       *API
	seed    maphash.Seed
	writing [64]sync.Mutex // by user
	mu      sync.Mutex
	named   bool // the sender has the account and profile
}

const noticeTag = "m.server_notice"

func (a *API) noticeRoutes() []httpapi.Route {
	const path = "/_synapse/admin/v1/send_server_notice"
	return httpapi.ForAdmins([]httpapi.Route{
		{Method: "POST", Path: path, Handle: a.sendNotice},
		{Method: "PUT", Path: path + "/{txnId}", Handle: a.sendNotice},
	})
}

// sendNotice is POST /_synapse/admin/v1/send_server_notice, and PUT with an id for the
// transaction.
func (a *API) sendNotice(r *http.Request, u *httpapi.Requester) (any, error) {
	var body struct {
		UserID   string          `json:"user_id"`
		Type     string          `json:"type"`
		StateKey *string         `json:"state_key"`
		Content  json.RawMessage `json:"content"`
	}
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	n := &a.notices
	switch {
	case n.UserID == "":
		return nil, httpapi.New(http.StatusBadRequest, "M_UNKNOWN", "Server notices are not enabled on this server")
	case body.UserID == "" || body.Content == nil:
		return nil, httpapi.MissingParam("user_id and content are needed")
	case !userid.IsLocal(body.UserID, a.serverName) || body.UserID == n.UserID:
		return nil, httpapi.InvalidParam("Server notices can only be sent to users of this server")
	case body.Type == "m.room.member":
		return nil, httpapi.InvalidParam("A membership is no notice")
	case body.Type == "":
		body.Type = "m.room.message"
	}
	user, err := a.db.GetUser(r.Context(), body.UserID)
	if errors.Is(err, storage.ErrNotFound) || err == nil && user.Deactivated {
		return nil, httpapi.NotFound("There is no such user")
	}
	if err != nil {
		return nil, err
	}
	e := roomserver.EventRequest{Sender: n.UserID, Type: body.Type, StateKey: body.StateKey, Content: body.Content}
	if txn := httpapi.Var(r, "txnId"); txn != "" {
		e.DeviceID, e.TxnID, e.Endpoint = u.UserID+" "+u.DeviceID, txn, "notice"
	}
	if err := e.Check(); err != nil {
		return nil, err
	}
	id, err := n.send(r.Context(), body.UserID, e)
	return eventID{id}, err
}

// send sends a notice, and has the user come to their room if they aren't there.
func (n *notices) send(ctx context.Context, userID string, e roomserver.EventRequest) (string, error) {
	mu := &n.writing[maphash.String(n.seed, userID)%uint64(len(n.writing))]
	mu.Lock()
	defer mu.Unlock()
	if err := n.name(ctx); err != nil {
		return "", err
	}
	v, err := n.room(ctx, userID)
	if err != nil {
		return "", err
	}
	if err := n.bring(ctx, v, userID); err != nil {
		return "", err
	}
	e.RoomID = v.Room.ID
	return n.a.rooms.Send(ctx, e)
}

// name gives the sender the account and the profile that it is to have.
func (n *notices) name(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.named {
		return nil
	}
	db := n.a.db
	if err := db.CreateUser(ctx, storage.User{ID: n.UserID, UserType: "bot"}); errors.Is(err, storage.ErrUserExists) {
		u, err := db.GetUser(ctx, n.UserID)
		if err != nil {
			return err
		}
		if u.PasswordHash != "" || u.UserType != "bot" || u.Deactivated {
			return httpapi.New(http.StatusBadRequest, "M_UNKNOWN", "%s is somebody's account: notices need a name of their own", n.UserID)
		}
	} else if err != nil {
		return err
	}
	for field, value := range map[string]string{"displayname": n.DisplayName, "avatar_url": n.AvatarURL} {
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		if err := db.SetProfileField(ctx, n.UserID, field, text, maxProfile); err != nil {
			return err
		}
	}
	n.named = true
	return nil
}

// room is the room of a user's notices, as it is to look.
func (n *notices) room(ctx context.Context, userID string) (*roomserver.View, error) {
	rooms := n.a.rooms
	id, err := n.a.db.NoticeRoom(ctx, userID)
	if err == nil {
		v, err := rooms.View(ctx, id)
		if err == nil && v.Membership(n.UserID) == "join" {
			return v, n.dress(ctx, v)
		}
		if err != nil && !errors.Is(err, roomserver.ErrUnknownRoom) {
			return nil, err
		}
	} else if !errors.Is(err, storage.ErrNotFound) {
		return nil, err
	}
	q := roomserver.CreateRoomRequest{Creator: n.UserID, Preset: "private_chat", Name: n.RoomName, Topic: n.RoomTopic,
		PowerLevels: map[string]json.RawMessage{"users_default": json.RawMessage("-10")}}
	if n.RoomAvatarURL != "" {
		q.InitialState = []roomserver.InitialEvent{{Type: "m.room.avatar", StateKey: new(""), Content: map[string]any{"url": n.RoomAvatarURL}}}
	}
	if id, err = rooms.CreateRoom(ctx, q); err != nil {
		return nil, err
	}
	if err := n.a.db.SetNoticeRoom(ctx, userID, id); err != nil {
		return nil, err
	}
	return rooms.View(ctx, id)
}

// dress has a room that was made before look as the configuration says now.
func (n *notices) dress(ctx context.Context, v *roomserver.View) error {
	for _, part := range []struct{ eventType, field, value string }{
		{"m.room.name", "name", n.RoomName}, {"m.room.topic", "topic", n.RoomTopic}, {"m.room.avatar", "url", n.RoomAvatarURL},
	} {
		e, err := n.a.rooms.StateEvent(ctx, v, part.eventType, "")
		if err != nil {
			return err
		}
		if e == nil && part.value == "" || e != nil && gjson.GetBytes(e.JSON, "content."+part.field).Str == part.value {
			continue
		}
		content, err := json.Marshal(map[string]string{part.field: part.value})
		if err != nil {
			return err
		}
		if _, err := n.a.rooms.Send(ctx, roomserver.EventRequest{RoomID: v.Room.ID, Sender: n.UserID, Type: part.eventType, StateKey: new(""), Content: content}); err != nil {
			return err
		}
	}
	own, err := n.a.rooms.StateEvent(ctx, v, "m.room.member", n.UserID)
	if err != nil || own == nil {
		return err
	}
	content := gjson.GetBytes(own.JSON, "content")
	if content.Get("displayname").Str == n.DisplayName && content.Get("avatar_url").Str == n.AvatarURL {
		return nil
	}
	_, err = n.a.rooms.SetMembership(ctx, roomserver.MembershipRequest{RoomID: v.Room.ID, Sender: n.UserID, Target: n.UserID, Membership: "join"})
	return err
}

// bring has a user be in their room, or invited to it, and the room be marked.
func (n *notices) bring(ctx context.Context, v *roomserver.View, userID string) error {
	if m := v.Membership(userID); m == "join" || m == "invite" {
		return nil
	}
	if err := n.tag(ctx, v.Room.ID, userID); err != nil {
		return err
	}
	m := roomserver.MembershipRequest{RoomID: v.Room.ID, Sender: n.UserID, Target: userID, Membership: "invite"}
	if _, err := n.a.rooms.SetMembership(ctx, m); err != nil {
		return err
	}
	if !n.AutoJoin {
		return nil
	}
	m.Sender, m.Membership = userID, "join"
	_, err := n.a.rooms.SetMembership(ctx, m)
	return err
}

// tag marks the room for the user's clients.
func (n *notices) tag(ctx context.Context, roomID, userID string) error {
	tags, err := n.a.db.GetAccountData(ctx, userID, roomID, "m.tag")
	if errors.Is(err, storage.ErrNotFound) || err == nil && !gjson.ParseBytes(tags).IsObject() {
		tags, err = []byte(`{}`), nil
	}
	if err != nil || gjson.GetBytes(tags, "tags."+gjson.Escape(noticeTag)).Exists() {
		return err
	}
	if tags, err = sjson.SetRawBytes(tags, "tags."+gjson.Escape(noticeTag), []byte(`{}`)); err != nil {
		return fmt.Errorf("tagging the room of notices: %w", err)
	}
	return n.a.db.Stream.Append(ctx, &storage.Change{AccountData: []storage.AccountData{
		{UserID: userID, RoomID: roomID, Type: "m.tag", Content: tags}}})
}

// mayLeave refuses to decline the invitation to the room of one's notices. Who has come there
// may go.
//
// https://spec.matrix.org/v1.19/client-server-api/#server-notices
func (n *notices) mayLeave(ctx context.Context, v *roomserver.View, userID string) error {
	if n.UserID == "" || v.Membership(userID) != "invite" {
		return nil
	}
	room, err := n.a.db.NoticeRoom(ctx, userID)
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err == nil && room == v.Room.ID {
		return httpapi.New(http.StatusForbidden, "M_CANNOT_LEAVE_SERVER_NOTICE_ROOM", "The invitation to the server's notices can't be rejected")
	}
	return err
}
