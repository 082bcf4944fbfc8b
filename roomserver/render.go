package roomserver

import (
	"bytes"
	"context"
	"encoding/json"
	"strconv"

	"github.com/tidwall/gjson"

	"hearth/storage"
)

// Related holds the events that others refer to when they are shown: what state
// events replaced, and the redactions of redacted ones.
type Related struct {
	replaced   map[int64]*storage.Event
	redactions map[string]*storage.Event
}

// Related reads what the events refer to, in two queries at most.
func (s *Server) Related(ctx context.Context, events []*storage.Event) (*Related, error) {
	var nids []int64
	var ids []string
	for _, e := range events {
		if e.ReplacesNID != 0 {
			nids = append(nids, e.ReplacesNID)
		}
		if e.RedactedBy != "" {
			ids = append(ids, e.RedactedBy)
		}
	}
	if len(nids)+len(ids) == 0 {
		return nil, nil
	}
	r := &Related{redactions: map[string]*storage.Event{}}
	var err error
	if r.replaced, err = s.Events(ctx, nids); err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return r, nil
	}
	list, err := s.db.EventsByID(ctx, ids)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		r.redactions[e.ID] = e
	}
	return r, nil
}

// Rendered is an event in the client-server format, rendered once for all its
// readers: Base is the object without its closing brace, Unsigned the members of
// unsigned that are the same for everyone.
type Rendered struct {
	Base     []byte
	Unsigned []byte
}

// Reader is who an event is rendered for.
type Reader struct {
	UserID, DeviceID string
	// Membership, if not empty, is the reader's membership at the event.
	Membership string
	// WithRoomID adds room_id, which /sync leaves out.
	WithRoomID bool
	// Bundles is what is shown with events; nil for nothing.
	Bundles *Bundles
	// Now is in milliseconds since 1970; the event's age is counted to it.
	Now int64
}

// Render renders an event; related may be nil.
//
// https://spec.matrix.org/v1.19/client-server-api/#room-event-format
func Render(e *storage.Event, related *Related) Rendered {
	var r Rendered
	b := append(make([]byte, 0, len(e.JSON)+64), `{"content":`...)
	content := gjson.GetBytes(e.JSON, "content")
	redacts := ""
	if e.Type == "m.room.redaction" {
		b, redacts = appendRedactionContent(b, content, gjson.GetBytes(e.JSON, "redacts").Str)
	} else {
		b = append(b, content.Raw...)
	}
	b = appendMember(b, "event_id", e.ID)
	b = append(b, `,"origin_server_ts":`...)
	b = strconv.AppendInt(b, e.OriginTS, 10)
	if redacts != "" {
		b = appendMember(b, "redacts", redacts)
	}
	if e.StickyUntil != 0 {
		b = append(append(b, `,"`+stickyField+`":`...), gjson.GetBytes(e.JSON, stickyField).Raw...)
	}
	b = appendMember(b, "sender", e.Sender)
	if e.StateKey != nil {
		b = appendMember(b, "state_key", *e.StateKey)
	}
	r.Base = appendMember(b, "type", e.Type)
	r.Unsigned = appendRelated(nil, e, related)
	return r
}

// appendRedactionContent shows a redaction's target both in the content and
// beside it, whatever the room version, so that old and new clients find it.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroomredaction
func appendRedactionContent(b []byte, content gjson.Result, redacts string) ([]byte, string) {
	inContent := content.Get("redacts").Str
	if inContent != "" || redacts == "" {
		return append(b, content.Raw...), inContent
	}
	b = append(b, `{"redacts":`...)
	b = AppendString(b, redacts)
	if rest := bytes.TrimSpace([]byte(content.Raw)[1:]); len(rest) > 1 {
		b = append(append(b, ','), rest...)
	} else {
		b = append(b, '}')
	}
	return b, redacts
}

func appendRelated(b []byte, e *storage.Event, related *Related) []byte {
	if related == nil {
		return nil
	}
	if old := related.replaced[e.ReplacesNID]; old != nil {
		b = append(b, `,"prev_content":`...)
		b = append(b, gjson.GetBytes(old.JSON, "content").Raw...)
		b = appendMember(b, "prev_sender", old.Sender)
		b = appendMember(b, "replaces_state", old.ID)
	}
	if by := related.redactions[e.RedactedBy]; by != nil {
		b = append(b, `,"redacted_because":`...)
		rendered := Render(by, nil)
		b = append(b, rendered.Base...)
		b = append(appendMember(b, "room_id", by.RoomID), '}')
	}
	return b
}

// Append appends the event as the reader gets it.
func (r Rendered) Append(b []byte, e *storage.Event, reader Reader) []byte {
	b = append(b, r.Base...)
	if reader.WithRoomID {
		b = appendMember(b, "room_id", e.RoomID)
	}
	b = append(b, `,"unsigned":{"age":`...)
	b = strconv.AppendInt(b, max(0, reader.Now-e.OriginTS), 10)
	if reader.Membership != "" {
		b = appendMember(b, "membership", reader.Membership)
	}
	if e.TxnID != "" && e.Sender == reader.UserID {
		switch e.TxnDevice {
		case reader.DeviceID:
			b = appendMember(b, "transaction_id", e.TxnID)
		case DelayedDevice:
			b = appendMember(b, "org.matrix.msc4140.delay_id", e.TxnID)
		}
	}
	if e.StickyUntil > reader.Now {
		b = append(b, `,"msc4354_sticky_duration_ttl_ms":`...)
		b = strconv.AppendInt(b, e.StickyUntil-reader.Now, 10)
	}
	b = append(b, r.Unsigned...)
	b = reader.Bundles.append(b, e, reader)
	return append(b, '}', '}')
}

// AppendClientEvent renders an event for one reader.
func AppendClientEvent(b []byte, e *storage.Event, related *Related, reader Reader) []byte {
	return Render(e, related).Append(b, e, reader)
}

// AppendStrippedEvent renders a state event for somebody who isn't in the room.
//
// https://spec.matrix.org/v1.19/client-server-api/#stripped-state
func AppendStrippedEvent(b []byte, e *storage.Event) []byte {
	b = append(b, `{"content":`...)
	b = append(b, gjson.GetBytes(e.JSON, "content").Raw...)
	b = appendMember(b, "sender", e.Sender)
	if e.StateKey != nil {
		b = appendMember(b, "state_key", *e.StateKey)
	}
	b = appendMember(b, "type", e.Type)
	return append(b, '}')
}

// appendMember appends ,"name":"value".
func appendMember(b []byte, name, value string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	return AppendString(b, value)
}

// AppendString appends s as a JSON string; ids seldom need escaping.
func AppendString(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
