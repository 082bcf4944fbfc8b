package filter

import (
	"fmt"
	"slices"
)

// Sync narrows what /sync returns.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3useruseridfilter
type Sync struct {
	EventFields []string   `json:"event_fields"`
	fields      *fields    // EventFields, taken apart
	EventFormat string     `json:"event_format"` // client or federation
	Presence    RoomEvents `json:"presence"`
	AccountData RoomEvents `json:"account_data"`
	Room        struct {
		Rooms        *[]string  `json:"rooms"`
		NotRooms     []string   `json:"not_rooms"`
		IncludeLeave bool       `json:"include_leave"`
		State        RoomEvents `json:"state"`
		Timeline     RoomEvents `json:"timeline"`
		Ephemeral    RoomEvents `json:"ephemeral"`
		AccountData  RoomEvents `json:"account_data"`
	} `json:"room"`
}

// maxFields bounds event_fields.
const maxFields = 100

// ParseSync reads a filter given as JSON.
func ParseSync(text []byte) (*Sync, error) {
	var f Sync
	if err := parse(text, &f); err != nil {
		return nil, err
	}
	if f.EventFormat != "" && f.EventFormat != "client" && f.EventFormat != "federation" {
		return nil, fmt.Errorf("event_format must be client or federation")
	}
	if len(f.EventFields) > maxFields {
		return nil, fmt.Errorf("event_fields has more than %d entries", maxFields)
	}
	for _, part := range []*RoomEvents{&f.Presence, &f.AccountData, &f.Room.State, &f.Room.Timeline, &f.Room.Ephemeral, &f.Room.AccountData} {
		if err := part.Check(); err != nil {
			return nil, err
		}
	}
	if err := checkIDs('!', "room", f.Room.Rooms, f.Room.NotRooms); err != nil {
		return nil, err
	}
	f.fields = newFields(f.EventFields)
	return &f, nil
}

// MatchesRoom reports whether the filter lets anything of the room pass.
func (f *Sync) MatchesRoom(roomID string) bool {
	return (f.Room.Rooms == nil || slices.Contains(*f.Room.Rooms, roomID)) && !slices.Contains(f.Room.NotRooms, roomID)
}

// MatchesType reports whether f lets something of the type pass that has no sender.
func (f *RoomEvents) MatchesType(eventType string) bool {
	return (f.Types == nil || matchesAny(*f.Types, eventType)) && !matchesAny(f.NotTypes, eventType)
}

// MatchesPiece reports whether f lets something of the type from the sender pass
// that isn't a room event.
func (f *RoomEvents) MatchesPiece(eventType, sender string) bool {
	return f.matchesTypeAndSender(eventType, sender)
}
