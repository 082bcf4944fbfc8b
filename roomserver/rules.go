package roomserver

import (
	"fmt"
	"math"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

// rules are the parts of a room's state that authorise plain events, parsed once
// and kept while the create event and the power levels stay what they are.
type rules struct {
	create, levels int64 // event numbers
	power          PowerLevels
	users          map[string]int64
	usersDefault   int64
	events         map[string]int64
	eventsDefault  int64
	federates      bool
	creatorDomain  string
}

// rules returns the room's rules as they stand.
func (b *builder) rules() (*rules, error) {
	create, _ := b.head.state.Get(storage.StateTuple{Type: "m.room.create"})
	levels, _ := b.head.state.Get(storage.StateTuple{Type: "m.room.power_levels"})
	if r := b.rm.rules; r != nil && r.create == create.EventNID && r.levels == levels.EventNID {
		return r, nil
	}
	pdu, err := b.statePDU(storage.StateTuple{Type: "m.room.create"})
	if err != nil {
		return nil, err
	}
	if pdu == nil {
		return nil, fmt.Errorf("room %s has no create event", b.head.row.ID)
	}
	p := b.powerLevels()
	r := &rules{create: create.EventNID, levels: levels.EventNID, power: p}
	r.users, r.events = levelMap(p.content.Get("users")), levelMap(p.content.Get("events"))
	r.usersDefault = number(p.content.Get("users_default"), 0)
	r.eventsDefault = number(p.content.Get("events_default"), 0)
	r.federates = gjson.GetBytes(pdu.Content(), `m\.federate`).Type != gjson.False
	r.creatorDomain = userid.Domain(string(pdu.SenderID()))
	b.rm.rules = r
	return r, nil
}

// maxLevels bounds the entries of a level map that are kept parsed.
const maxLevels = 10_000

func levelMap(object gjson.Result) map[string]int64 {
	m := map[string]int64{}
	object.ForEach(func(k, v gjson.Result) bool {
		m[k.Str] = number(v, 0)
		return len(m) < maxLevels
	})
	return m
}

// of is the power of a user.
func (r *rules) of(userID string) int64 {
	for _, c := range r.power.creators {
		if c != userID {
			continue
		}
		if r.power.v12 {
			return math.MaxInt64
		}
		if !r.power.content.Exists() {
			return 100
		}
	}
	if level, ok := r.users[userID]; ok {
		return level
	}
	return r.usersDefault
}

// allowPlain applies the authorisation rules that concern plain events.
//
// https://spec.matrix.org/v1.19/rooms/v12/#authorization-rules
func (r *rules) allowPlain(b *builder, n *newEvent) error {
	// Rule 3: a room that doesn't federate takes only its creator's server.
	if !r.federates && userid.Domain(n.Sender) != r.creatorDomain {
		return httpapi.Forbidden("The room doesn't federate")
	}
	// Rule 6: the sender must be joined.
	member, _ := b.head.state.Get(storage.StateTuple{Type: "m.room.member", StateKey: n.Sender})
	if member.Membership != "join" {
		return httpapi.Forbidden("%s isn't in the room", n.Sender)
	}
	// Rule 8: the sender needs the power that the type requires.
	required, ok := r.events[n.Type]
	if !ok {
		required = r.eventsDefault
	}
	if power := r.of(n.Sender); power < required {
		return httpapi.Forbidden("Sending %s needs power level %d; %s has %d", n.Type, required, n.Sender, power)
	}
	return nil
}
