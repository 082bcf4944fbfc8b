package matrix

import (
	"encoding/json"
	"fmt"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/wire"
)

// CreateRoom makes a room that everybody may join and returns its ID. An empty
// version leaves the choice to the server.
func (c *Client) CreateRoom(name, version string) (string, error) {
	options := map[string]any{"name": name, "preset": "public_chat"}
	if version != "" {
		options["room_version"] = version
	}
	body, err := json.Marshal(options)
	if err != nil {
		return "", err
	}
	b, err := c.do(wire.Request{Method: "POST", Path: api + "/createRoom", Body: body, Timeout: time.Minute})
	if err != nil {
		return "", err
	}
	var answer struct {
		RoomID string `json:"room_id"`
	}
	if err := json.Unmarshal(b, &answer); err != nil || answer.RoomID == "" {
		return "", fmt.Errorf("create a room: the answer %.100q has no room ID", b)
	}
	return answer.RoomID, nil
}

// Join joins a public room.
func (c *Client) Join(room string) error {
	return c.call("POST", api+"/rooms/"+escape(room)+"/join", struct{}{}, nil)
}

// Leave leaves a room.
func (c *Client) Leave(room string) error {
	return c.call("POST", api+"/rooms/"+escape(room)+"/leave", struct{}{}, nil)
}

// JoinedRooms lists the rooms that the user is in.
func (c *Client) JoinedRooms() ([]string, error) {
	var answer struct {
		Rooms []string `json:"joined_rooms"`
	}
	err := c.call("GET", api+"/joined_rooms", nil, &answer)
	return answer.Rooms, err
}

// Send sends a text message that carries the mark, and returns the event ID,
// valid until the next request.
func (c *Client) Send(room string, m check.Mark, timeout time.Duration) ([]byte, error) {
	c.path = append(append(c.path[:0], api+"/rooms/"...), escape(room)...)
	c.path = fmt.Appendf(c.path, "/send/m.room.message/%d.%d.%d", m.Run, m.Sender, m.Seq)
	c.body = append(c.body[:0], `{"msgtype":"m.text","body":"`...)
	c.body = append(m.AppendBody(c.body), `"}`...)
	b, err := c.do(wire.Request{Method: "PUT", Path: string(c.path), Body: c.body, Timeout: timeout})
	if err != nil {
		return nil, err
	}
	var id []byte
	s := wire.NewScanner(b)
	s.Object(func(key []byte) {
		if string(key) == "event_id" {
			id = s.String()
		} else {
			s.Skip()
		}
	})
	if len(id) == 0 {
		return nil, fmt.Errorf("send: the answer %.100q has no event ID", b)
	}
	return id, nil
}

// GetRoom fetches a path below the room, such as /members, and returns the
// answer, valid until the next request.
func (c *Client) GetRoom(room, path string) ([]byte, error) {
	return c.do(wire.Request{Method: "GET", Path: api + "/rooms/" + escape(room) + path})
}
