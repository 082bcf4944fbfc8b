package token

import (
	"testing"

	"hearth/storage"
)

// FuzzParse feeds what clients may send: what is read is written as it was meant,
// and a gap taken from a sync token is the one after its position.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"s12_34", "t12_-3", "t12_0", "s-1_0", "t1_9999999999", "", "s", "x1_2", "s1_2_3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if sync, err := ParseSync(s); err == nil {
			if again, err := ParseSync(sync.String()); err != nil || again != sync {
				t.Fatalf("%q is read as %+v, written as %s", s, sync, sync)
			}
			if gap, err := ParseGap(s); err != nil || gap.After.Position != sync.Position {
				t.Fatalf("%q as a gap is %+v, %v", s, gap, err)
			}
		}
		if gap, err := ParseGap(s); err == nil {
			if again, err := ParseGap(gap.String()); err != nil || again != gap {
				t.Fatalf("%q is read as %+v, written as %s", s, gap, gap)
			}
			if !gap.After.Before(gap.Next()) {
				t.Fatalf("nothing comes after %+v", gap)
			}
		}
	})
}

func TestGapsAroundAnEvent(t *testing.T) {
	e := storage.Place{Position: 7, Sub: -2}
	if Before(e).Next() != e {
		t.Fatalf("the first place behind the gap before %v is %v", e, Before(e).Next())
	}
	if After(e).After != e {
		t.Fatalf("the gap after %v is %v", e, After(e))
	}
}
