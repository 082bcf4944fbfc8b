package check

import (
	"fmt"
	"testing"
	"time"
)

// room acknowledges three messages of each of two senders and returns the
// ledger and a way to make views of it: "a0" is sender a's first message.
func room() (*Ledger, func(events ...string) *View) {
	const run = 7
	l := NewLedger(run)
	mark := func(name string) Mark { return Mark{Run: run, Sender: int(name[0] - 'a'), Seq: int(name[1] - '0')} }
	for _, name := range []string{"a0", "b0", "a1", "b1", "a2", "b2"} {
		l.Acknowledge(mark(name), []byte("$"+name))
	}
	return l, func(events ...string) *View {
		v := l.NewView()
		for _, name := range events {
			v.See(mark(name), []byte("$"+name[:min(len(name), 4)]))
		}
		return v
	}
}

func TestJudge(t *testing.T) {
	l, view := room()
	whole := func() *View { return view("a0", "b0", "a1", "b1", "a2", "b2") }
	for name, c := range map[string]struct {
		views []*View
		want  Verdict
	}{
		"all agree":                              {[]*View{whole(), whole()}, Verdict{}},
		"one reader misses two":                  {[]*View{whole(), view("a0", "b0", "a2", "b2")}, Verdict{Lost: 2}},
		"nobody saw one":                         {[]*View{view("a0", "b0", "a1", "b1", "b2"), view("a0", "b0", "a1", "b1", "b2")}, Verdict{Lost: 2}},
		"seen twice":                             {[]*View{whole(), view("a0", "b0", "b0", "a1", "b1", "a2", "b2")}, Verdict{Doubled: 1}},
		"two readers disagree":                   {[]*View{whole(), view("b0", "a0", "a1", "b1", "a2", "b2")}, Verdict{Misordered: 1}},
		"all agree on what its sender did not":   {[]*View{view("a1", "a0", "b0", "b1", "a2", "b2")}, Verdict{Misordered: 1}},
		"another event ID than acknowledged":     {[]*View{view("a0!!", "b0", "a1", "b1", "a2", "b2")}, Verdict{Changed: 1}},
		"an unacknowledged message may appear":   {[]*View{view("a0", "b0", "a1", "b1", "a3", "a2", "b2")}, Verdict{}},
		"but for all readers at the same place":  {[]*View{view("a0", "b0", "a1", "a3", "b1", "a2", "b2"), view("a0", "b0", "a1", "b1", "a3", "a2", "b2")}, Verdict{Misordered: 1}},
		"a reader may miss what nobody promised": {[]*View{view("a0", "b0", "a1", "a3", "b1", "a2", "b2"), whole()}, Verdict{}},
	} {
		c.want.Acknowledged, c.want.Readers = 6, len(c.views)
		if got := l.Judge(c.views...); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestGapIsFilledWhereItWas(t *testing.T) {
	l, view := room()
	reader := view("a0", "b0", "b2")
	reader.Insert(2, view("a1", "b1", "a2"))
	if got := l.Judge(view("a0", "b0", "a1", "b1", "a2", "b2"), reader); got.Void() {
		t.Errorf("a filled gap is judged as %v", got)
	}
	backwards := view("b2", "a2", "b1", "a1", "b0", "a0")
	backwards.Reverse()
	if got := l.Judge(backwards, reader); got.Void() {
		t.Errorf("a view read backwards is judged as %v", got)
	}
}

func TestEventsOfOtherRunsAreIgnored(t *testing.T) {
	l, _ := room()
	if v := l.NewView(); v.See(Mark{Run: l.Run + 1}, []byte("$x")) || v.Len() != 0 {
		t.Error("a view took in an event of another run")
	}
}

func TestMarkSurvivesItsBody(t *testing.T) {
	m := Mark{Run: NewRun(), Sender: 31, Seq: 123456, Sent: 90 * time.Second}
	body := m.AppendBody(nil)
	if got, ok := ParseBody(body); !ok || got != m || len(body) != bodyLength {
		t.Errorf("%q became %+v", body, got)
	}
	for _, body := range []string{"", "hello", "hearth-bench ", "hearth-bench 1 2 3 ", fmt.Sprintf("%s x 1 2 3 ", "hearth-bench")} {
		if m, ok := ParseBody([]byte(body)); ok {
			t.Errorf("%q was read as %+v", body, m)
		}
	}
}
