package roomserver

import (
	"cmp"
	"crypto/sha1"
	"fmt"
	"maps"
	"slices"
)

// This file is the state resolution of the room versions as their pages define it, and what a server does with an event by it: slow and obvious. In two places, which
// say so, it isn't what the page says but what servers have done since there is the
// algorithm: a room whose servers disagree is broken, whoever of them is right.

// refRoom is a room as a server that knows nothing of speed sees it.
type refRoom struct {
	refRules
	ends []*refEvent
}

// receive judges an event, whose predecessors were received.
func (r *refRoom) receive(e *refEvent) {
	e.before = r.stateBefore(e.prev)
	current := r.stateBefore(r.ends)
	switch {
	case !r.byAuthEvents(e) || !r.allowed(e, e.before):
		e.rejected = true
	case !r.allowed(e, current):
		e.softFailed = true
	default:
		r.ends = append(slices.DeleteFunc(slices.Clone(r.ends), func(end *refEvent) bool { return slices.Contains(e.prev, end) }), e)
	}
}

// stateBefore is the resolution of the states after events.
func (r *refRoom) stateBefore(prev []*refEvent) refState {
	var sets []refState
	for _, e := range prev {
		sets = append(sets, e.after())
	}
	return r.resolve(sets)
}

func (e *refEvent) after() refState {
	after := maps.Clone(e.before)
	if e.key != nil && !e.rejected {
		after[e.tuple()] = e
	}
	return after
}

type refSet map[*refEvent]bool

// authChain is the chains of all events of a state. The events of the state are part of it:
// the page's words leave them out, all servers have them in.
func authChain(s refState) refSet {
	chain := refSet{}
	var visit func(e *refEvent)
	visit = func(e *refEvent) {
		if !chain[e] {
			chain[e] = true
			for _, a := range e.auth {
				visit(a)
			}
		}
	}
	for _, e := range s {
		visit(e)
	}
	return chain
}

func chainOf(e *refEvent) refSet {
	chain := authChain(refState{tuple{}: e})
	delete(chain, e)
	return chain
}

func (r *refRoom) resolve(sets []refState) refState {
	if r.version == 1 {
		return r.resolveFirst(sets)
	}
	unconflicted, conflicted := refState{}, refSet{}
	for _, set := range sets {
		for k, v := range set {
			if !slices.ContainsFunc(sets, func(other refState) bool { return other[k] != v }) {
				unconflicted[k] = v
			} else {
				conflicted[v] = true
			}
		}
	}
	full := r.fullConflictedSet(sets, conflicted)

	// 1. The power events, and what authorises them in the full conflicted set. The page
	// says their whole auth chains; all servers follow these only as far as the set goes.
	x := refSet{}
	var enlarge func(e *refEvent)
	enlarge = func(e *refEvent) {
		if full[e] && !x[e] {
			x[e] = true
			for _, a := range e.auth {
				enlarge(a)
			}
		}
	}
	for e := range full {
		if isPowerEvent(e) {
			enlarge(e)
		}
	}
	// 2. From version 12 on the checks begin with nothing.
	partial := refState{}
	if r.version < 12 {
		partial = maps.Clone(unconflicted)
	}
	r.check(partial, r.powerOrder(x))
	// 3. and 4. The others.
	others := slices.Collect(maps.Keys(full))
	others = slices.DeleteFunc(others, func(e *refEvent) bool { return x[e] })
	r.check(partial, mainlineOrder(partial[tuple{"m.room.power_levels", ""}], others))
	// 5. What all agree on stands.
	maps.Copy(partial, unconflicted)
	return partial
}

func (r *refRoom) fullConflictedSet(sets []refState, conflicted refSet) refSet {
	full := maps.Clone(conflicted)
	// The auth difference: what is in some chains and not in all.
	var chains []refSet
	for _, set := range sets {
		chains = append(chains, authChain(set))
	}
	for _, chain := range chains {
		for e := range chain {
			if slices.ContainsFunc(chains, func(other refSet) bool { return !other[e] }) {
				full[e] = true
			}
		}
	}
	// The conflicted state subgraph: what lies on ways from one conflicted event to another.
	if r.version >= 12 {
		for from := range conflicted {
			for between := range chainOf(from) {
				for to := range chainOf(between) {
					if conflicted[to] {
						full[between] = true
					}
				}
			}
		}
	}
	return full
}

func isPowerEvent(e *refEvent) bool {
	switch e.typ {
	case "m.room.power_levels", "m.room.join_rules":
		return *e.key == ""
	case "m.room.member":
		return (e.str("membership") == "leave" || e.str("membership") == "ban") && e.sender != *e.key
	}
	return false
}

// powerOrder is the reverse topological power ordering.
func (r *refRoom) powerOrder(set refSet) (sorted []*refEvent) {
	power := func(e *refEvent) int64 {
		state := refState{}
		for _, a := range e.auth {
			state[a.tuple()] = a
		}
		return r.power(state, e.sender)
	}
	left := maps.Clone(set)
	for len(left) > 0 {
		var candidates []*refEvent
		for e := range left {
			if !slices.ContainsFunc(e.auth, func(a *refEvent) bool { return left[a] }) {
				candidates = append(candidates, e)
			}
		}
		next := slices.MinFunc(candidates, func(x, y *refEvent) int {
			return cmp.Or(cmp.Compare(power(y), power(x)), cmp.Compare(x.ts, y.ts), cmp.Compare(x.id, y.id))
		})
		sorted = append(sorted, next)
		delete(left, next)
	}
	return sorted
}

func levelsNamed(e *refEvent) *refEvent {
	for _, a := range e.auth {
		if a.typ == "m.room.power_levels" && *a.key == "" {
			return a
		}
	}
	return nil
}

// mainlineOrder is the mainline ordering based on power levels.
func mainlineOrder(p *refEvent, list []*refEvent) []*refEvent {
	var mainline []*refEvent
	for ; p != nil; p = levelsNamed(p) {
		mainline = append(mainline, p)
	}
	position := func(e *refEvent) int {
		for e = levelsNamed(e); e != nil; e = levelsNamed(e) {
			if i := slices.Index(mainline, e); i >= 0 {
				return i
			}
		}
		return len(mainline) // infinite
	}
	slices.SortFunc(list, func(x, y *refEvent) int {
		return cmp.Or(cmp.Compare(position(y), position(x)), cmp.Compare(x.ts, y.ts), cmp.Compare(x.id, y.id))
	})
	return list
}

// check is the iterative auth checks algorithm.
func (r *refRoom) check(state refState, list []*refEvent) {
	for _, e := range list {
		by := refState{tuple{"m.room.create", ""}: r.create}
		for _, a := range e.auth {
			if !a.rejected {
				by[a.tuple()] = a
			}
		}
		for _, t := range r.selection(e) {
			if state[t] != nil {
				by[t] = state[t]
			}
		}
		if r.allowed(e, by) {
			state[e.tuple()] = e
		}
	}
}

// resolveFirst is the algorithm of room version 1. Where nothing passes, the page chooses
// nothing, and all servers the last.
func (r *refRoom) resolveFirst(sets []refState) refState {
	state, conflicts := refState{}, map[tuple][]*refEvent{}
	for _, set := range sets {
		for k, v := range set {
			if !slices.Contains(conflicts[k], v) {
				conflicts[k] = append(conflicts[k], v)
			}
		}
	}
	for k, list := range conflicts {
		if len(list) == 1 {
			state[k] = list[0]
			delete(conflicts, k)
		}
	}
	for _, typ := range []string{"m.room.power_levels", "m.room.join_rules", "m.room.member"} {
		chosen := refState{}
		for k, list := range conflicts {
			if k.typ != typ {
				continue
			}
			sortByDepth(list)
			trial := maps.Clone(state)
			trial[k] = list[0]
			for _, e := range list[1:] {
				if !r.allowed(e, trial) {
					break
				}
				trial[k] = e
			}
			chosen[k] = trial[k]
			delete(conflicts, k)
		}
		maps.Copy(state, chosen)
	}
	others := refState{}
	for k, list := range conflicts {
		sortByDepth(list)
		slices.Reverse(list)
		i := slices.IndexFunc(list, func(e *refEvent) bool { return r.allowed(e, state) })
		if i < 0 {
			i = len(list) - 1
		}
		others[k] = list[i]
	}
	maps.Copy(state, others)
	return state
}

// sortByDepth sorts by ascending depth and descending hash of the id.
func sortByDepth(list []*refEvent) {
	hash := func(e *refEvent) string { return fmt.Sprintf("%x", sha1.Sum([]byte(e.id))) }
	slices.SortFunc(list, func(x, y *refEvent) int {
		return cmp.Or(cmp.Compare(x.depth, y.depth), cmp.Compare(hash(y), hash(x)))
	})
}
