package roomserver

import "slices"

const (
	// maxHeroes is how many members a room without a name is named after, and maxHeroScan
	// bounds the members that are looked at to find them.
	maxHeroes   = 5
	maxHeroScan = 2000
)

// Heroes are up to five members that a room without a name can be named after, to somebody:
// those who came first, joined or invited, or, when nobody else is left, who was there.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
func (v *View) Heroes(self string) []string {
	type member struct {
		id  string
		nid int64
	}
	var present, past []member
	scanned := 0
	for it := v.State.Iterator(); !it.Done() && scanned < maxHeroScan; {
		t, e, _ := it.Next()
		if t.Type != "m.room.member" || t.StateKey == self {
			continue
		}
		scanned++
		if e.Membership == "join" || e.Membership == "invite" {
			present = append(present, member{t.StateKey, e.EventNID})
		} else {
			past = append(past, member{t.StateKey, e.EventNID})
		}
	}
	if len(present) == 0 {
		present = past
	}
	slices.SortFunc(present, func(a, b member) int { return int(a.nid - b.nid) })
	ids := make([]string, 0, maxHeroes)
	for _, m := range present[:min(maxHeroes, len(present))] {
		ids = append(ids, m.id)
	}
	return ids
}
