package check

import "fmt"

// Verdict counts broken promises.
type Verdict struct {
	Acknowledged int `json:"acknowledged"`
	Readers      int `json:"readers"`
	Lost         int `json:"lost"`       // acknowledged, and not seen by a reader: once per reader
	Doubled      int `json:"doubled"`    // seen again by the same reader
	Misordered   int `json:"misordered"` // seen after an event that others, or its own sender, put behind it
	Changed      int `json:"changed"`    // seen under another event ID than was acknowledged
}

// Void tells whether any promise was broken: what was measured is then void.
func (v Verdict) Void() bool { return v.Lost+v.Doubled+v.Misordered+v.Changed > 0 }

// Add sums the verdicts of several rooms.
func (v *Verdict) Add(o Verdict) {
	v.Acknowledged += o.Acknowledged
	v.Readers += o.Readers
	v.Lost += o.Lost
	v.Doubled += o.Doubled
	v.Misordered += o.Misordered
	v.Changed += o.Changed
}

func (v Verdict) String() string {
	return fmt.Sprintf("%d acknowledged, %d lost, %d doubled, %d misordered, %d changed", v.Acknowledged, v.Lost, v.Doubled, v.Misordered, v.Changed)
}

// Judge compares what readers saw with what was acknowledged. Every view must
// cover the whole run. The first is the order that the others are held to.
func (l *Ledger) Judge(views ...*View) Verdict {
	var total Verdict
	for _, v := range l.JudgeEach(views...) {
		total.Add(v)
	}
	total.Acknowledged = l.Len()
	return total
}

// JudgeEach is Judge with a verdict for each view.
func (l *Ledger) JudgeEach(views ...*View) []Verdict {
	l.mu.Lock()
	defer l.mu.Unlock()
	verdicts := make([]Verdict, len(views))
	if len(views) == 0 {
		return verdicts
	}
	order := make(map[key]int, len(views[0].seen))
	for i, s := range views[0].seen {
		if _, again := order[s.key]; !again {
			order[s.key] = i
		}
	}
	for i, v := range views {
		verdicts[i] = Verdict{Acknowledged: len(l.acks), Readers: 1}
		l.judge(v, order, &verdicts[i])
	}
	return verdicts
}

func (l *Ledger) judge(v *View, order map[key]int, total *Verdict) {
	seen := make(map[key]bool, len(v.seen))
	lastOf := map[int]int{} // newest acknowledged message of each sender
	place, known := -1, 0
	for _, s := range v.seen {
		if seen[s.key] {
			total.Doubled++
			continue
		}
		seen[s.key] = true
		late := false
		if at, ok := order[s.key]; ok {
			late = at < place
			place = max(place, at)
		}
		// A message whose sending failed may still appear, at any later time.
		if id, ok := l.acks[s.key]; ok {
			known++
			m := s.key.mark()
			last, before := lastOf[m.Sender]
			late = late || before && m.Seq < last
			lastOf[m.Sender] = max(last, m.Seq)
			if id != s.eventID && id != anyID {
				total.Changed++
			}
		}
		if late {
			total.Misordered++
		}
	}
	total.Lost += len(l.acks) - known
}
