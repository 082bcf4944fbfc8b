package clientapi

import (
	"slices"
	"testing"
)

// FuzzInteractiveAuth plays any order of attempts, by two users at two operations and
// with each other's sessions, against a model: an operation goes ahead only if the very
// same one, by the same user, has passed all stages of one flow in their order, and
// then once.
func FuzzInteractiveAuth(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3})
	f.Add([]byte{0x10, 0x51, 0x92, 0xd3, 0x10, 0x52})
	f.Add([]byte{0x01, 0x41, 0x81, 0xc1, 0x02, 0x42, 0x82, 0xc2, 0x03})
	flows := [][]string{{"a"}, {"b", "c"}, {"c", "b", "a"}}
	stages := []string{"", "a", "b", "c"}
	f.Fuzz(func(t *testing.T, steps []byte) {
		if len(steps) > 200 {
			return
		}
		ia := newInteractiveAuth()
		type owner struct {
			operation byte
			requester string
		}
		passed := map[string][]string{} // by session
		owners := map[string]owner{}
		var known []string
		for _, step := range steps {
			stage := stages[step&3]
			d := demand{requester: []string{"@alice:x", "@bob:x"}[step>>2&1], flows: flows}
			d.operation[0] = step >> 3 & 1
			who := owner{d.operation[0], d.requester}
			auth := &authData{Type: stage}
			if i := int(step >> 4); i < len(known) {
				auth.Session = known[i]
			}
			s := ia.session(d, auth)
			if o, ok := owners[s.id]; ok && o != who {
				t.Fatalf("%v was given a session of %v", who, o)
			}
			owners[s.id] = who
			if stage != "" && ia.isNext(s, d, stage) {
				ia.complete(s, d, stage, proof{})
				passed[s.id] = append(passed[s.id], stage)
			}
			complete := slices.ContainsFunc(flows, func(flow []string) bool { return slices.Equal(flow, passed[s.id]) })
			if finished := ia.finish(s, d); finished != complete {
				t.Fatalf("after %v: finished is %v", passed[s.id], finished)
			} else if finished {
				if ia.finish(s, d) {
					t.Fatal("finished twice")
				}
				delete(passed, s.id)
				delete(owners, s.id)
				continue
			}
			ia.challenge(s, d, nil)
			if !slices.Contains(known, s.id) {
				known = append(known, s.id)
			}
		}
	})
}
