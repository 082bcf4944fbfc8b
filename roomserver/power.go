package roomserver

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/storage"
)

// PowerLevels reads a room's m.room.power_levels.
//
// https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels
type PowerLevels struct {
	content  gjson.Result // of m.room.power_levels; doesn't exist in a room without
	creators []string     // with unlimited power from room version 12, with 100 in a room without levels
	v12      bool
}

// powerLevels returns the power levels of the room as it stands.
func (b *builder) powerLevels() PowerLevels {
	return newPowerLevels(b.rm.version, func(eventType string) []byte {
		pdu, err := b.statePDU(storage.StateTuple{Type: eventType})
		if err != nil || pdu == nil {
			return nil
		}
		return pdu.JSON()
	})
}

// PowerLevels returns the power levels of the room as committed.
func (s *Server) PowerLevels(ctx context.Context, v *View) (PowerLevels, error) {
	version, err := gomatrixserverlib.GetRoomVersion(gomatrixserverlib.RoomVersion(v.Room.RoomVersion))
	if err != nil {
		return PowerLevels{}, fmt.Errorf("reading power levels: %w", err)
	}
	return newPowerLevels(version, func(eventType string) []byte {
		var e *storage.Event
		if e, err = s.StateEvent(ctx, v, eventType, ""); err != nil || e == nil {
			return nil
		}
		return e.JSON
	}), err
}

// newPowerLevels reads the levels from the PDUs that state returns.
func newPowerLevels(v gomatrixserverlib.IRoomVersion, state func(eventType string) []byte) PowerLevels {
	p := PowerLevels{content: gjson.GetBytes(state("m.room.power_levels"), "content"), v12: v.PrivilegedCreators()}
	create := gjson.ParseBytes(state("m.room.create"))
	p.creators = []string{create.Get("sender").Str}
	if creator := create.Get("content.creator").Str; creator != "" && v.CreatorInCreateEvent() {
		p.creators = []string{creator}
	}
	if p.v12 {
		for _, u := range create.Get("content.additional_creators").Array() {
			p.creators = append(p.creators, u.Str)
		}
	}
	return p
}

// Of is the power of a user; creators of rooms from version 12 on have more than
// any number.
func (p PowerLevels) Of(userID string) int64 {
	for _, c := range p.creators {
		if c != userID {
			continue
		}
		if p.v12 {
			return math.MaxInt64
		}
		if !p.content.Exists() {
			return 100
		}
	}
	var level gjson.Result
	p.content.Get("users").ForEach(func(k, v gjson.Result) bool {
		if k.Str == userID {
			level = v
			return false
		}
		return true
	})
	return number(level, number(p.content.Get("users_default"), 0))
}

// Creators are those who made the room: from room version 12 on who stands above all
// levels, before that who did while there were none.
func (p PowerLevels) Creators() []string { return p.creators }

// named are the users of whom the room says what power they have.
func (p PowerLevels) named() []string {
	list := slices.Clone(p.creators)
	p.content.Get("users").ForEach(func(k, _ gjson.Result) bool {
		list = append(list, k.Str)
		return true
	})
	return list
}

// Action is the level for ban, kick, redact (50 by default) or invite (0).
func (p PowerLevels) Action(name string) int64 {
	fallback := int64(50)
	if name == "invite" {
		fallback = 0
	}
	return number(p.content.Get(name), fallback)
}

// State is the level for sending a state event of the type.
func (p PowerLevels) State(eventType string) int64 {
	return p.typeLevel(eventType, number(p.content.Get("state_default"), 50))
}

// Event is the level for sending an event of the type that is no state.
func (p PowerLevels) Event(eventType string) int64 {
	return p.typeLevel(eventType, number(p.content.Get("events_default"), 0))
}

func (p PowerLevels) typeLevel(eventType string, fallback int64) int64 {
	var level gjson.Result
	p.content.Get("events").ForEach(func(k, v gjson.Result) bool {
		if k.Str == eventType {
			level = v
			return false
		}
		return true
	})
	return number(level, fallback)
}

func (p PowerLevels) notification(name string) int64 {
	return number(p.content.Get("notifications."+gjson.Escape(name)), 50)
}

// number reads a level, which in rooms before version 10 may be a string.
func number(r gjson.Result, fallback int64) int64 {
	switch r.Type {
	case gjson.Number:
		return r.Int()
	case gjson.String:
		if n, err := strconv.ParseInt(strings.TrimSpace(r.Str), 10, 64); err == nil {
			return n
		}
	}
	return fallback
}
