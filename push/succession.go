package push

import "slices"

// ForRoom adds to the rules about one room the same about another, and reports whether
// there were any that the other didn't have. Such rules are of the kind room with the
// room's id for their own, or have the condition that the event's room is that.
func (s *Ruleset) ForRoom(from, to string) (changed bool) {
	for _, kind := range kinds {
		rules := s.list(kind)
		for _, r := range slices.Clone(*rules) {
			copied, ok := r.forRoom(from, to)
			if !ok || indexOf(*rules, copied.ID) >= 0 || s.added() >= maxRules {
				continue
			}
			*rules = slices.Insert(*rules, indexOf(*rules, r.ID)+1, copied)
			changed = true
		}
	}
	return changed
}

// forRoom is the rule about another room, if it is about this one.
func (r Rule) forRoom(from, to string) (Rule, bool) {
	if isDefault(r.ID) {
		return r, false
	}
	about := r.ID == from
	r.Conditions = slices.Clone(r.Conditions)
	for i, c := range r.Conditions {
		if c.Kind == "event_match" && c.Key == "room_id" && c.Pattern != nil && *c.Pattern == from {
			r.Conditions[i] = eventMatch("room_id", to)
			about = true
		}
	}
	if r.ID != from { // it isn't called by the room
		to = r.ID + "_" + to
	}
	r.ID = to
	return r, about && len(to) <= maxID
}
