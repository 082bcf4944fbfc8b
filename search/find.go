package search

import (
	"cmp"
	"context"
	"math"
	"slices"

	"hearth/internal/words"
	"hearth/roomserver"
	"hearth/storage"
)

const (
	// MaxFound bounds the messages that are found at once: the newest are.
	MaxFound = 500
	// maxLookedAt bounds the messages with the words that are looked at for that: not
	// everything may be seen, or wanted.
	maxLookedAt = 5000
	// maxTerms bounds the words of a search.
	maxTerms = 20
	// newestBlocks is how many blocks are looked through before the index is asked.
	newestBlocks = 32
	// firstBlocks is how many blocks with the words are looked through at once, and maxBlocks how many
	// when those before weren't enough.
	firstBlocks, maxBlocks = 64, 512
	// maxCandidateBlocks bounds the blocks with the words that are known at once.
	maxCandidateBlocks = 20_000
)

// Query is what a user looks for.
type Query struct {
	UserID string
	Text   string
	// Keys are those of the content that are searched, such as content.body.
	Keys []string
	// Rooms are where to search: rooms in which the user is or was.
	Rooms []int64
	// UpTo is the place of the newest message that counts.
	UpTo storage.Place
	// Wanted, unless nil, narrows what is found.
	Wanted func(*storage.Event) bool
}

// Found is a message that was found, and how well it fits.
type Found struct {
	Event      *storage.Event
	Rank       float64
	Visibility *roomserver.Visibility
	View       *roomserver.View
}

// Result is what was found, the newest first.
type Result struct {
	Found []Found
	// More is whether there may be older ones.
	More bool
	// End is the place up to which was searched.
	End storage.Place
	// Highlights are the words as they stand in what was found.
	Highlights []string
}

// finder is a search that is going on.
type finder struct {
	x      *Index
	q      *Query
	upTo   storage.Place
	terms  []words.Word
	result Result
	looked int
	// pending are messages with the words than which there may be newer ones that weren't found yet: blocks of
	// what was fetched of a room's past lie within those of the stream.
	pending []*storage.Event
	views   map[int64]*roomserver.View
	seen    map[int64]*roomserver.Visibility
	lights  map[string]bool
}

// Valid reports whether a key can be searched.
func Valid(key string) bool { return keys[key] != "" }

// Find returns the newest messages that the user may see and that have all the words,
// not more than MaxFound. Redacted ones, and rooms that are encrypted by now, aren't
// searched.
func (x *Index) Find(ctx context.Context, q *Query) (*Result, error) {
	f := &finder{x: x, q: q, upTo: q.UpTo, terms: words.Query(words.Stemmed(q.Text), maxTerms), views: map[int64]*roomserver.View{},
		seen: map[int64]*roomserver.Visibility{}, lights: map[string]bool{}}
	if len(f.terms) == 0 || len(q.Rooms) == 0 {
		return &f.result, nil
	}
	indexed, err := x.db.SearchProgress(ctx)
	if err == nil {
		err = f.newest(ctx, indexed)
	}
	if err == nil && !f.result.More {
		if indexed < f.upTo.Position { // what comes after was looked through, even if it is indexed by now
			f.upTo = storage.Place{Position: indexed, Sub: math.MaxInt32}
		}
		err = f.indexed(ctx)
	}
	for text := range f.lights {
		f.result.Highlights = append(f.result.Highlights, text)
	}
	slices.Sort(f.result.Highlights)
	return &f.result, err
}

// newest looks through what isn't in the index yet.
func (f *finder) newest(ctx context.Context, indexed storage.Position) error {
	upTo := min(f.upTo.Position, f.x.db.Stream.Position())
	if upTo <= indexed {
		return nil
	}
	events, err := f.x.db.NewestSearchable(ctx, f.q.Rooms, max(indexed, upTo-2*maxBehind), upTo, maxLookedAt)
	if err != nil {
		return err
	}
	return f.add(ctx, slices.DeleteFunc(events, func(e *storage.Event) bool { return !f.has(e) }))
}

// has reports whether the event has all the words where they are looked for.
func (f *finder) has(e *storage.Event) bool {
	text, weight := textOf(e)
	if !slices.Contains(f.weights(), weight) {
		return false
	}
	list := words.Stemmed(text)
	return !slices.ContainsFunc(f.terms, func(term words.Word) bool { return !slices.ContainsFunc(list, term.Matches) })
}

func (f *finder) weights() (list []string) {
	for _, key := range f.q.Keys {
		list = append(list, keys[key])
	}
	return list
}

// indexed searches the index: its newest blocks one after the other, since there words
// are found at once that are used a lot, then wherever the words are.
func (f *finder) indexed(ctx context.Context) error {
	q := &storage.SearchQuery{Query: query(f.terms), Rooms: f.q.Rooms}
	for _, t := range f.terms {
		q.Terms, q.Prefix = append(q.Terms, t.Term), append(q.Prefix, t.Prefix)
	}
	before, err := f.x.db.SearchBlocksEnd(ctx, f.upTo)
	if err != nil {
		return err
	}
	have, rest, err := f.x.db.NewestSearchBlocks(ctx, q, before, newestBlocks)
	for err == nil {
		if err = f.lookThrough(ctx, q, have, rest); err != nil || f.result.More || rest == (storage.Place{}) {
			return err
		}
		have, rest, err = f.x.db.SearchBlocks(ctx, q, rest, maxCandidateBlocks)
	}
	return err
}

// lookThrough looks for messages with all the words in blocks that have these, more and more at a time. What comes
// after these blocks is before rest.
func (f *finder) lookThrough(ctx context.Context, q *storage.SearchQuery, have []storage.SearchBlockPlace, rest storage.Place) error {
	for limit := firstBlocks; len(have) > 0; limit = min(2*limit, maxBlocks) {
		var blocks []int64
		for _, b := range have[:min(limit, len(have))] {
			blocks = append(blocks, b.NID)
		}
		found, err := f.x.db.SearchIn(ctx, q, blocks)
		if err != nil {
			return err
		}
		next := rest
		if have = have[len(blocks):]; len(have) > 0 {
			next = have[0].Last
		}
		if err := f.take(ctx, found, next); err != nil || f.result.More {
			return err
		}
	}
	return f.settle(ctx, rest)
}

// take reads what was found in blocks. What comes after them is before rest, or there.
func (f *finder) take(ctx context.Context, found []storage.FoundMessages, rest storage.Place) error {
	var nids []int64
	for i, b := range found {
		nids = append(nids, b.Events...)
		last := i == len(found)-1
		if len(nids) < maxBlock && !last {
			continue
		}
		events, err := f.x.rooms.EventList(ctx, nids)
		if err != nil {
			return err
		}
		nids = nil
		f.pending = append(f.pending, slices.DeleteFunc(events, func(e *storage.Event) bool { return !f.has(e) })...)
		next := rest
		if !last {
			next = found[i+1].Last
		}
		if err := f.settle(ctx, next); err != nil || f.result.More {
			return err
		}
	}
	return nil
}

// settle adds what is pending and newer than everything that may still be found, which isn't behind rest.
func (f *finder) settle(ctx context.Context, rest storage.Place) error {
	slices.SortFunc(f.pending, func(a, b *storage.Event) int {
		return cmp.Or(cmp.Compare(b.Position, a.Position), cmp.Compare(b.Sub, a.Sub))
	})
	n := 0
	for n < len(f.pending) && rest.Before(f.pending[n].Place) {
		n++
	}
	settled := f.pending[:n]
	f.pending = f.pending[n:]
	return f.add(ctx, settled)
}

// add adds those of the events, which have the words, that count.
func (f *finder) add(ctx context.Context, events []*storage.Event) error {
	if err := f.open(ctx, events); err != nil {
		return err
	}
	for _, e := range events {
		vis := f.seen[e.RoomNID]
		if f.upTo.Before(e.Place) {
			continue
		}
		if f.looked++; f.looked > maxLookedAt || len(f.result.Found) == MaxFound {
			f.result.More = true
			return nil
		}
		f.result.End = e.Place
		if vis == nil || !e.Accepted() || e.RedactedBy != "" || !vis.CanSee(e) || f.q.Wanted != nil && !f.q.Wanted(e) {
			continue
		}
		f.result.Found = append(f.result.Found, Found{e, f.rank(e), vis, f.views[e.RoomNID]})
	}
	return nil
}

// open finds out what the user may see of the events' rooms.
func (f *finder) open(ctx context.Context, events []*storage.Event) error {
	var fresh []*roomserver.View
	for _, e := range events {
		if _, known := f.views[e.RoomNID]; known {
			continue
		}
		v, err := f.x.rooms.View(ctx, e.RoomID)
		if err != nil {
			return err
		}
		f.views[e.RoomNID] = v
		if v.Summary.Encryption == "" {
			fresh = append(fresh, v)
		}
	}
	found, err := f.x.rooms.Visibilities(ctx, fresh, f.q.UserID)
	for nid, vis := range found {
		f.seen[nid] = vis
	}
	return err
}

// rank is how well an event fits: the more of its words are those that are looked for.
func (f *finder) rank(e *storage.Event) float64 {
	text, _ := textOf(e)
	list := words.Stemmed(text)
	hits := make([]int, len(f.terms))
	for _, w := range list {
		for i, term := range f.terms {
			if term.Matches(w) {
				hits[i]++
				f.lights[w.Text] = true
			}
		}
	}
	rank := 0.0
	for _, n := range hits {
		rank += 1 + math.Log(float64(max(n, 1)))
	}
	return rank / math.Sqrt(float64(max(len(list), 1)))
}

// ByRank puts what fits best first, and of what fits alike the newest.
func ByRank(found []Found) {
	slices.SortStableFunc(found, func(a, b Found) int { return cmp.Compare(b.Rank, a.Rank) })
}
