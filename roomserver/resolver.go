package roomserver

import (
	"errors"
	"fmt"
	"maps"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/storage"
)

// resolver resolves states by the algorithm that rooms have since version 2, with what
// version 12 changed. It reads only what the states don't agree on, and what authorises
// that.
//
// https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
type resolver struct {
	b *builder
	// fromNothing: the checks begin with an empty state instead of what the states agree
	// on, and what lies between conflicting events is judged again too.
	fromNothing bool
	// unconflicted is what the states agree on, conflicted what else each has.
	unconflicted storage.StateMap
	conflicted   []map[int64]bool
	// events are those that were read, by id: the conflicting ones, and all that
	// authorises them.
	events map[string]*authEvent
	// levels are those that were read, by the id of what holds them, "" for none.
	levels map[string]PowerLevels
	// create is the event that made the room, which since version 12 no other names.
	create *storage.Event
	// partial is what was resolved so far, over the state that the checks begin with.
	partial map[storage.StateTuple]*storage.Event
}

// authEvent is an event with the ids of what authorises it.
type authEvent struct {
	*storage.Event
	auth []string
}

func (b *builder) newResolver(unconflicted storage.StateMap, conflicted []map[int64]bool, events map[int64]*storage.Event) *resolver {
	r := &resolver{b: b, unconflicted: unconflicted, conflicted: conflicted,
		fromNothing: b.rm.version.StateResAlgorithm() == gomatrixserverlib.StateResV2_1,
		events:      make(map[string]*authEvent, len(events)), levels: map[string]PowerLevels{},
		partial: map[storage.StateTuple]*storage.Event{}}
	for _, e := range events {
		r.add(e)
	}
	return r
}

func (r *resolver) add(e *storage.Event) {
	r.events[e.ID] = &authEvent{e, References(e, "auth_events")}
}

func (r *resolver) resolve() (storage.StateMap, error) {
	if err := r.findCreate(); err != nil {
		return nil, err
	}
	conflicting := maps.Clone(r.events)
	if err := r.readChains(); err != nil {
		return nil, err
	}
	full, err := r.fullConflictedSet(conflicting)
	if err != nil {
		return nil, err
	}
	power := r.sortPower(full)
	if err := r.check(power); err != nil {
		return nil, err
	}
	for _, e := range power {
		delete(full, e.ID)
	}
	others, err := r.sortOthers(full)
	if err != nil {
		return nil, err
	}
	if err := r.check(others); err != nil {
		return nil, err
	}
	state := r.unconflicted
	for t, e := range r.partial {
		if _, ok := r.unconflicted.Get(t); !ok {
			state = state.Set(t, entryOf(e))
		}
	}
	return state, nil
}

// findCreate reads the event that made the room, on which all states agree.
func (r *resolver) findCreate() error {
	entry, ok := r.unconflicted.Get(storage.StateTuple{Type: "m.room.create"})
	if !ok {
		return errors.New("the states don't agree on what made the room")
	}
	var err error
	r.create, err = r.b.s.event(r.b.ctx, entry.EventNID)
	return err
}

// readChains reads all that authorises the events that are known.
func (r *resolver) readChains() error {
	generation := make([]*authEvent, 0, len(r.events))
	for _, e := range r.events {
		generation = append(generation, e)
	}
	asked := map[string]bool{}
	for len(generation) > 0 {
		var wanted []string
		for _, e := range generation {
			for _, id := range e.auth {
				if r.events[id] == nil && !asked[id] {
					asked[id] = true
					wanted = append(wanted, id)
				}
			}
		}
		if len(asked) > maxAuthChain {
			return fmt.Errorf("an auth chain has more than %d events", maxAuthChain)
		}
		generation = nil
		if len(wanted) == 0 {
			return nil
		}
		list, err := r.b.s.db.EventsByID(r.b.ctx, wanted)
		if err != nil {
			return err
		}
		for _, e := range list {
			if e.RoomNID == r.b.head.row.NID && e.IsState() {
				r.add(e)
				generation = append(generation, r.events[e.ID])
			}
		}
	}
	return nil
}

// agreed reports whether the event is in all the states.
func (r *resolver) agreed(e *storage.Event) bool {
	entry, ok := r.unconflicted.Get(tupleOf(e))
	return ok && entry.EventNID == e.NID
}

// fullConflictedSet is what is judged again: the conflicting events, what authorises
// some of the states but not all, and since version 12 what lies between conflicting
// events.
func (r *resolver) fullConflictedSet(conflicting map[string]*authEvent) (map[string]*authEvent, error) {
	full := maps.Clone(conflicting)
	difference, err := r.authDifference(conflicting)
	if err != nil {
		return nil, err
	}
	for _, e := range difference {
		full[e.ID] = e
	}
	if r.fromNothing {
		r.addBetween(conflicting, full)
	}
	for id, e := range full {
		if e.Flags&storage.Rejected != 0 {
			delete(full, id)
		}
	}
	return full, nil
}

// authDifference are events that authorise some of the states but not all, without the
// conflicting ones. What authorises an event that is in all states authorises them all,
// so nothing is looked for behind those.
func (r *resolver) authDifference(conflicting map[string]*authEvent) (list []*authEvent, err error) {
	in := map[string]int{} // how many states have it
	for _, set := range r.conflicted {
		seen := map[string]bool{}
		var visit func(e *authEvent)
		visit = func(e *authEvent) {
			if e == nil || seen[e.ID] || r.agreed(e.Event) {
				return
			}
			seen[e.ID] = true
			in[e.ID]++
			for _, id := range e.auth {
				visit(r.events[id])
			}
		}
		for _, e := range conflicting {
			if set[e.NID] {
				visit(e)
			}
		}
	}
	for id, n := range in {
		if n < len(r.conflicted) && conflicting[id] == nil {
			list = append(list, r.events[id])
		}
	}
	if len(list) == 0 {
		return nil, nil
	}
	return r.withoutCommon(list)
}

// withoutCommon leaves out what authorises something that is in all the states.
func (r *resolver) withoutCommon(list []*authEvent) ([]*authEvent, error) {
	var agreed []*storage.Event
	for _, t := range []storage.StateTuple{{Type: "m.room.power_levels"}, {Type: "m.room.join_rules"}} {
		if entry, ok := r.unconflicted.Get(t); ok {
			e, err := r.b.s.event(r.b.ctx, entry.EventNID)
			if err != nil {
				return nil, err
			}
			agreed = append(agreed, e)
		}
	}
	list, err := r.without(list, agreed)
	if err != nil || len(list) == 0 {
		return list, err
	}
	events, err := r.b.s.Events(r.b.ctx, nidsOf(r.unconflicted))
	if err != nil {
		return nil, err
	}
	agreed = agreed[:0]
	for _, e := range events {
		agreed = append(agreed, e)
	}
	return r.without(list, agreed)
}

// without leaves out of list what authorises any of the events.
func (r *resolver) without(list []*authEvent, events []*storage.Event) ([]*authEvent, error) {
	chain, err := r.b.s.AuthChainOf(r.b.ctx, r.b.rm.view.Load(), events)
	if err != nil {
		return nil, err
	}
	common := make(map[string]bool, len(chain))
	for _, e := range chain {
		common[e.ID] = true
	}
	var rest []*authEvent
	for _, e := range list {
		if !common[e.ID] {
			rest = append(rest, e)
		}
	}
	return rest, nil
}

// addBetween adds to full what lies on a way from one conflicting event to another.
func (r *resolver) addBetween(conflicting, full map[string]*authEvent) {
	next := map[string][]string{} // what an event authorises
	for _, e := range r.events {
		for _, id := range e.auth {
			next[id] = append(next[id], e.ID)
		}
	}
	// All events that were read authorise a conflicting one; so those lie between that
	// have one before them.
	queue := make([]string, 0, len(conflicting))
	for id := range conflicting {
		queue = append(queue, id)
	}
	seen := map[string]bool{}
	for len(queue) > 0 {
		id := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if seen[id] {
			continue
		}
		seen[id] = true
		full[id] = r.events[id]
		queue = append(queue, next[id]...)
	}
}
