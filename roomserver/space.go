package roomserver

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"

	"github.com/tidwall/gjson"
)

const (
	// maxSpaceChildren bounds the children of a space that are looked at.
	maxSpaceChildren = 5000
	// maxOrder bounds the key by which a child is ordered, in characters.
	maxOrder = 50
	// maxChildVia bounds the servers by which a child is looked for.
	maxChildVia = 5
)

// SpaceChild is an m.space.child event as it is shown to who isn't in the space.
//
// https://spec.matrix.org/v1.19/client-server-api/#mspacechild
type SpaceChild struct {
	Type     string          `json:"type"`
	RoomID   string          `json:"state_key"`
	Sender   string          `json:"sender"`
	OriginTS int64           `json:"origin_server_ts"`
	Content  json.RawMessage `json:"content"`
}

// Via are servers by which the child can be found.
func (c *SpaceChild) Via() (servers []string) {
	via := gjson.GetBytes(c.Content, "via")
	if !via.IsArray() {
		return nil
	}
	for _, server := range via.Array() {
		if server.Type == gjson.String && server.Str != "" && len(servers) < maxChildVia {
			servers = append(servers, server.Str)
		}
	}
	return servers
}

// order is the key by which the child is ordered, if it has a valid one.
func (c *SpaceChild) order() (key string, ok bool) {
	order := gjson.GetBytes(c.Content, "order")
	if order.Type != gjson.String || len(order.Str) > maxOrder {
		return "", false
	}
	for i := range len(order.Str) {
		if order.Str[i] < ' ' || order.Str[i] > '~' {
			return "", false
		}
	}
	return order.Str, true
}

// compare puts children in the order in which they are shown.
//
// https://spec.matrix.org/v1.19/client-server-api/#ordering-of-children-within-a-space
func (c *SpaceChild) compare(d *SpaceChild) int {
	x, hasX := c.order()
	y, hasY := d.order()
	if hasX != hasY {
		if hasX {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(x, y), cmp.Compare(c.OriginTS, d.OriginTS), cmp.Compare(c.RoomID, d.RoomID))
}

// SpaceRoom is a room within a hierarchy of spaces; only spaces have children.
type SpaceRoom struct {
	Description
	Children []SpaceChild `json:"children_state"`
}

// Space is a space as a server describes it to another, with those of its children
// that both may know of.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
type Space struct {
	Room         SpaceRoom     `json:"room"`
	Children     []Description `json:"children"`
	Inaccessible []string      `json:"inaccessible_children"`
}

// SortSpaceChildren leaves of the children those that are right, and suggested if only
// these are wanted, in the order in which they are shown.
func SortSpaceChildren(list []SpaceChild, suggestedOnly bool) []SpaceChild {
	children := make([]SpaceChild, 0, len(list))
	for _, c := range list[:min(len(list), maxSpaceChildren)] {
		suggested := gjson.GetBytes(c.Content, "suggested").Type == gjson.True
		if c.Type == "m.space.child" && len(c.RoomID) > 1 && c.RoomID[0] == '!' && len(c.RoomID) <= 255 &&
			len(c.Via()) > 0 && (suggested || !suggestedOnly) {
			children = append(children, c)
		}
	}
	slices.SortFunc(children, func(x, y SpaceChild) int { return x.compare(&y) })
	return children
}

// SpaceChildren returns the children of a room, none for one that is no space. They
// are read from the database: a space with many members is not searched for them.
func (s *Server) SpaceChildren(ctx context.Context, v *View, suggestedOnly bool) ([]SpaceChild, error) {
	if v.Summary.RoomType != "m.space" {
		return []SpaceChild{}, nil
	}
	nids, err := s.db.StateOfType(ctx, v.Room.NID, "m.space.child", maxSpaceChildren)
	if err != nil {
		return nil, err
	}
	events, err := s.EventList(ctx, nids)
	if err != nil {
		return nil, err
	}
	list := make([]SpaceChild, 0, len(events))
	for _, e := range events {
		list = append(list, SpaceChild{Type: e.Type, RoomID: *e.StateKey, Sender: e.Sender, OriginTS: e.OriginTS,
			Content: json.RawMessage(gjson.GetBytes(e.JSON, "content").Raw)})
	}
	return SortSpaceChildren(list, suggestedOnly), nil
}
