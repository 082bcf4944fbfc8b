package check

import (
	"hash/maphash"
	"sync"
)

var seed = maphash.MakeSeed()

// key identifies a message within one room and one run.
type key uint64

func keyOf(m Mark) key { return key(uint64(m.Sender)<<40 | uint64(m.Seq)) }

// Ledger knows what was acknowledged in one room during one run.
type Ledger struct {
	Run  uint64
	mu   sync.Mutex
	acks map[key]uint64 // hash of the event ID
}

// NewLedger returns an empty ledger.
func NewLedger(run uint64) *Ledger { return &Ledger{Run: run, acks: map[key]uint64{}} }

// anyID stands for an event ID that the reader cannot know.
const anyID = 0

// Expect notes that m is known to have been acknowledged, under whatever event
// ID.
func (l *Ledger) Expect(m Mark) {
	l.mu.Lock()
	l.acks[keyOf(m)] = anyID
	l.mu.Unlock()
}

// Acknowledge notes that the server answered the sending of m with an event ID.
func (l *Ledger) Acknowledge(m Mark, eventID []byte) {
	h := maphash.Bytes(seed, eventID)
	l.mu.Lock()
	l.acks[keyOf(m)] = h
	l.mu.Unlock()
}

// Len is the number of messages acknowledged.
func (l *Ledger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.acks)
}

// View is what one reader saw of the run, oldest first. Not safe for concurrent
// use.
type View struct {
	run  uint64
	seen []sighting
}

type sighting struct {
	key     key
	eventID uint64 // hash
}

// NewView returns the view of a reader who has seen nothing yet.
func (l *Ledger) NewView() *View { return &View{run: l.Run} }

// See notes an event as the next in the reader's order. Events of other runs
// are ignored; false tells that m was one.
func (v *View) See(m Mark, eventID []byte) bool {
	if m.Run != v.run {
		return false
	}
	v.seen = append(v.seen, sighting{keyOf(m), maphash.Bytes(seed, eventID)})
	return true
}

// Len is the number of events seen.
func (v *View) Len() int { return len(v.seen) }

// Insert puts the events of another view into this one, before the event
// that was seen as number at: what a reader fetched later in order to fill a gap.
func (v *View) Insert(at int, missed *View) {
	seen := make([]sighting, 0, len(v.seen)+len(missed.seen))
	seen = append(seen, v.seen[:at]...)
	seen = append(seen, missed.seen...)
	v.seen = append(seen, v.seen[at:]...)
}

// Before returns the set of events seen before number at.
func (v *View) Before(at int) map[Mark]bool {
	known := make(map[Mark]bool, at)
	for _, s := range v.seen[:at] {
		known[s.key.mark()] = true
	}
	return known
}

// Place is a Mark without its time: what identifies a message within a run.
func (m Mark) Place() Mark { return Mark{Sender: m.Sender, Seq: m.Seq} }

func (k key) mark() Mark { return Mark{Sender: int(k >> 40), Seq: int(k & (1<<40 - 1))} }

// Reverse turns a view that was read from the newest event backwards.
func (v *View) Reverse() {
	for i, j := 0, len(v.seen)-1; i < j; i, j = i+1, j-1 {
		v.seen[i], v.seen[j] = v.seen[j], v.seen[i]
	}
}

// Run is the run that the view is of.
func (v *View) Run() uint64 { return v.run }
