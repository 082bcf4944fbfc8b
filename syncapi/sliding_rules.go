package syncapi

import (
	"slices"
	"strings"

	"hearth/internal/userid"
	"hearth/storage"
)

// stateRules say what of a room's state a client wants to be told.
type stateRules struct {
	// id is the same for rules that say the same.
	id               string
	include, exclude stateSet
	// lazy is whether members are told when they are needed, other than those that include
	// names one by one.
	lazy bool
}

// stateSet is a set of pieces of state: all of them, all of some types, all with some state
// keys, and some one by one.
type stateSet struct {
	all         bool
	types, keys map[string]bool
	exact       map[storage.StateTuple]bool
}

// add adds what matches; nil stands for anything.
func (s *stateSet) add(eventType, stateKey *string) {
	switch {
	case eventType == nil && stateKey == nil:
		s.all = true
	case stateKey == nil:
		if s.types == nil {
			s.types = map[string]bool{}
		}
		s.types[*eventType] = true
	case eventType == nil:
		if s.keys == nil {
			s.keys = map[string]bool{}
		}
		s.keys[*stateKey] = true
	default:
		if s.exact == nil {
			s.exact = map[storage.StateTuple]bool{}
		}
		s.exact[storage.StateTuple{Type: *eventType, StateKey: *stateKey}] = true
	}
}

func (s *stateSet) wild() bool { return s.all || len(s.types)+len(s.keys) > 0 }

func (s *stateSet) has(t storage.StateTuple) bool {
	return s.all || s.types[t.Type] || s.keys[t.StateKey] || s.exact[t]
}

func (r *stateRules) wants(t storage.StateTuple) bool {
	if r.lazy && t.Type == "m.room.member" && !r.include.exact[t] && !r.include.keys[t.StateKey] {
		return false
	}
	return r.include.has(t) && !r.exclude.has(t)
}

// everyMember is whether every member is told, needed or not.
func (r *stateRules) everyMember() bool {
	return !r.lazy && (r.include.all || r.include.types["m.room.member"])
}

// roomRules are what a room's state is picked by: the rules of every list and subscription
// that the room is in, of which any suffices.
type roomRules struct {
	id   string
	list []*stateRules
	lazy bool
}

// union returns the rules together with more.
func (r *roomRules) union(more *stateRules) *roomRules {
	if r == nil {
		return &roomRules{id: more.id, list: []*stateRules{more}, lazy: more.lazy}
	}
	for _, have := range r.list {
		if have.id == more.id {
			return r
		}
	}
	u := &roomRules{list: append(slices.Clone(r.list), more)}
	slices.SortFunc(u.list, func(a, b *stateRules) int { return strings.Compare(a.id, b.id) })
	ids, everyMember := make([]string, len(u.list)), false
	for i, rules := range u.list {
		ids[i] = rules.id
		u.lazy = u.lazy || rules.lazy
		everyMember = everyMember || rules.everyMember()
	}
	u.id, u.lazy = strings.Join(ids, ""), u.lazy && !everyMember
	return u
}

func (r *roomRules) wants(t storage.StateTuple) bool {
	return slices.ContainsFunc(r.list, func(rules *stateRules) bool { return rules.wants(t) })
}

// needMembers reports whether the rules ask for members other than those of a server, whether
// they are needed or not.
func (r *roomRules) needMembers(own string) bool {
	other := func(userID string) bool { return strings.HasPrefix(userID, "@") && !userid.IsLocal(userID, own) }
	return slices.ContainsFunc(r.list, func(rules *stateRules) bool {
		for t := range rules.include.exact {
			if t.Type == "m.room.member" && other(t.StateKey) {
				return true
			}
		}
		for key := range rules.include.keys {
			if other(key) {
				return true
			}
		}
		return rules.everyMember()
	})
}

// pick calls do for every piece of a state that the rules want. Without wildcards that
// takes no look at the rest of it.
func (r *roomRules) pick(state storage.StateMap, do func(storage.StateTuple, storage.StateEntry)) {
	if slices.ContainsFunc(r.list, func(rules *stateRules) bool { return rules.include.wild() }) {
		for it := state.Iterator(); !it.Done(); {
			if t, e, _ := it.Next(); r.wants(t) {
				do(t, e)
			}
		}
		return
	}
	for _, rules := range r.list {
		for t := range rules.include.exact {
			if e, ok := state.Get(t); ok && rules.wants(t) {
				do(t, e)
			}
		}
	}
}

// bytes is about what the rules take in memory.
func (r *roomRules) bytes() int64 {
	n := 200
	for _, rules := range r.list {
		n += 300 + len(rules.id)
		for _, s := range []*stateSet{&rules.include, &rules.exclude} {
			for t := range s.exact {
				n += 100 + len(t.Type) + len(t.StateKey)
			}
			for _, m := range []map[string]bool{s.types, s.keys} {
				for k := range m {
					n += 50 + len(k)
				}
			}
		}
	}
	return int64(n)
}
