package roomserver

import (
	"cmp"
	"container/heap"
	"errors"
	"maps"
	"slices"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// isPower reports whether the event may take away somebody's ability to do something.
func isPower(e *storage.Event) bool {
	switch e.Type {
	case "m.room.power_levels", "m.room.join_rules", "m.room.create":
		return *e.StateKey == ""
	case "m.room.member":
		membership := membershipOf(e)
		return (membership == "leave" || membership == "ban") && e.Sender != *e.StateKey
	}
	return false
}

// powerLevels is the event among those that authorise e which says who may do what.
func (r *resolver) powerLevels(e *authEvent) *authEvent {
	for _, id := range e.auth {
		if a := r.events[id]; a != nil && a.Type == "m.room.power_levels" && *a.StateKey == "" {
			return a
		}
	}
	return nil
}

// senderPower is the power of an event's sender when they sent it.
func (r *resolver) senderPower(e *authEvent) int64 {
	var id string
	holder := r.powerLevels(e)
	if holder != nil {
		id = holder.ID
	}
	levels, ok := r.levels[id]
	if !ok {
		levels = newPowerLevels(r.b.rm.version, func(eventType string) []byte {
			if eventType == "m.room.create" {
				return r.create.JSON
			}
			if holder == nil {
				return nil
			}
			return holder.JSON
		})
		r.levels[id] = levels
	}
	return levels.Of(e.Sender)
}

// sortPower returns the power events of the set, with what authorises them in it, in an
// order in which each comes after what authorises it, and otherwise the more powerful
// sender's first.
func (r *resolver) sortPower(full map[string]*authEvent) []*authEvent {
	waits := map[string]int{} // for how many events an event waits
	then := map[string][]*authEvent{}
	var visit func(e *authEvent)
	visit = func(e *authEvent) {
		if _, seen := waits[e.ID]; seen {
			return
		}
		waits[e.ID] = 0
		for _, id := range distinctStrings(e.auth) {
			if a := full[id]; a != nil {
				waits[e.ID]++
				then[id] = append(then[id], e)
				visit(a)
			}
		}
	}
	for _, e := range full {
		if isPower(e.Event) {
			visit(e)
		}
	}
	var ready byPower
	for id, n := range waits {
		if n == 0 {
			heap.Push(&ready, ranked{full[id], r.senderPower(full[id])})
		}
	}
	sorted := make([]*authEvent, 0, len(waits))
	for ready.Len() > 0 {
		e := heap.Pop(&ready).(ranked).authEvent
		sorted = append(sorted, e)
		for _, later := range then[e.ID] {
			if waits[later.ID]--; waits[later.ID] == 0 {
				heap.Push(&ready, ranked{later, r.senderPower(later)})
			}
		}
	}
	return sorted
}

func distinctStrings(list []string) []string {
	sorted := slices.Clone(list)
	slices.Sort(sorted)
	return slices.Compact(sorted)
}

type ranked struct {
	*authEvent
	power int64
}

// byPower is a heap, the event to be taken next on top.
type byPower []ranked

func (q byPower) Len() int { return len(q) }
func (q byPower) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[j].power, q[i].power), cmp.Compare(q[i].OriginTS, q[j].OriginTS), cmp.Compare(q[i].ID, q[j].ID)) < 0
}
func (q byPower) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *byPower) Push(x any)   { *q = append(*q, x.(ranked)) }
func (q *byPower) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// sortOthers sorts events by which of the power levels, from the room's first to those
// that were resolved, they were sent under, and then by time.
func (r *resolver) sortOthers(set map[string]*authEvent) ([]*authEvent, error) {
	mainline, err := r.mainline()
	if err != nil {
		return nil, err
	}
	place := make(map[string]int, len(set))
	for _, e := range set {
		place[e.ID] = r.placeOf(e, mainline)
	}
	sorted := slices.Collect(maps.Values(set))
	slices.SortFunc(sorted, func(x, y *authEvent) int {
		return cmp.Or(cmp.Compare(place[x.ID], place[y.ID]), cmp.Compare(x.OriginTS, y.OriginTS), cmp.Compare(x.ID, y.ID))
	})
	return sorted, nil
}

// mainline numbers the power levels that led to the resolved ones, the oldest 1.
func (r *resolver) mainline() (map[string]int, error) {
	newest, err := r.current(storage.StateTuple{Type: "m.room.power_levels"})
	if err != nil || newest == nil {
		return nil, err
	}
	if r.events[newest.ID] == nil {
		r.add(newest)
		if err := r.readChains(); err != nil {
			return nil, err
		}
	}
	var line []string
	for e := r.events[newest.ID]; e != nil && len(line) <= len(r.events); e = r.powerLevels(e) {
		line = append(line, e.ID)
	}
	numbers := make(map[string]int, len(line))
	for i, id := range line {
		numbers[id] = len(line) - i
	}
	return numbers, nil
}

// placeOf is the number of the newest power levels of the mainline behind the event, 0
// for none.
func (r *resolver) placeOf(e *authEvent, mainline map[string]int) int {
	for steps := 0; e != nil && steps <= len(r.events); steps++ {
		if n := mainline[e.ID]; n > 0 {
			return n
		}
		e = r.powerLevels(e)
	}
	return 0
}

// current is a piece of the state that was resolved so far, nil for none.
func (r *resolver) current(t storage.StateTuple) (*storage.Event, error) {
	if e := r.partial[t]; e != nil {
		return e, nil
	}
	if r.fromNothing {
		return nil, nil
	}
	entry, ok := r.unconflicted.Get(t)
	if !ok {
		return nil, nil
	}
	return r.b.s.event(r.b.ctx, entry.EventNID)
}

// check applies the authorisation rules to the events one after the other, each by what
// was resolved so far, and takes in those that they allow.
func (r *resolver) check(events []*authEvent) error {
	for _, e := range events {
		pdu, err := pduOf(r.b.rm.version, e.Event)
		if err != nil {
			return err
		}
		list, err := r.authorising(e, pdu)
		if err != nil {
			return err
		}
		err = r.b.allowed(pdu, list)
		var refused *httpapi.Error
		if err == nil {
			r.partial[tupleOf(e.Event)] = e.Event
		} else if !errors.As(err, &refused) {
			return err
		}
	}
	return nil
}

// authorising are the events by which an event is judged: what was resolved so far, and
// what it names itself where nothing was.
func (r *resolver) authorising(e *authEvent, pdu gomatrixserverlib.PDU) ([]*storage.Event, error) {
	named := map[storage.StateTuple]*storage.Event{}
	for _, id := range e.auth {
		if a := r.events[id]; a != nil && a.Flags&storage.Rejected == 0 {
			named[tupleOf(a.Event)] = a.Event
		}
	}
	var list []*storage.Event
	for _, tuple := range authoritiesOf(pdu, r.b.rm.version) {
		by, err := r.current(tuple)
		if err != nil {
			return nil, err
		}
		if by == nil {
			by = named[tuple]
		}
		if by == nil && tuple.Type == "m.room.create" {
			by = r.create
		}
		if by != nil {
			list = append(list, by)
		}
	}
	return list, nil
}
