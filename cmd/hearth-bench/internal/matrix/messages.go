package matrix

import (
	"fmt"
	"net/url"

	"hearth/cmd/hearth-bench/internal/wire"
)

// Page is a page of a room's history. Valid until the client's next request.
type Page struct {
	End    string // where the next page begins; empty at the end of the history
	Events []Event
}

// Messages reads up to limit events of a room from a token, backwards ('b') or
// forwards ('f'). An empty token begins at the newest event, or the oldest.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
func (c *Client) Messages(room, from string, dir byte, limit int, p *Page) error {
	path := fmt.Sprintf("%s/rooms/%s/messages?dir=%c&limit=%d", api, escape(room), dir, limit)
	if from != "" {
		path += "&from=" + url.QueryEscape(from)
	}
	b, err := c.do(wire.Request{Method: "GET", Path: path})
	if err != nil {
		return err
	}
	p.End, p.Events = "", p.Events[:0]
	s := wire.NewScanner(b)
	s.Object(func(key []byte) {
		switch string(key) {
		case "end":
			p.End = string(s.String())
		case "chunk":
			p.Events = scanEvents(s, p.Events)
		default:
			s.Skip()
		}
	})
	if s.Err() != nil {
		return fmt.Errorf("messages: %w", s.Err())
	}
	return nil
}
