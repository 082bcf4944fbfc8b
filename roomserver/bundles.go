package roomserver

import (
	"context"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"

	"hearth/storage"
)

// Bundles are the aggregations that are shown with events: what relates to them.
//
// https://spec.matrix.org/v1.19/client-server-api/#aggregations-of-child-events
type Bundles struct {
	edits      map[string]*storage.Event
	threads    map[string]bundledThread
	references map[string][]*storage.Event
}

type bundledThread struct {
	latest       *storage.Event
	count        int
	participated bool
}

// maxReferences bounds the references that are shown with an event.
const maxReferences = 100

// MayBundle reports whether the user may know of what relates to the room's events: who is in
// it, or everyone while it is world-readable. To those who have left, an edit or an answer would
// tell what was said without them.
func (vis *Visibility) MayBundle() bool {
	return vis.MayPeek() || vis.MembershipAt(storage.Place{Position: math.MaxInt64}) == "join"
}

// Bundle reads what is to be shown with events of rooms for whose readers MayBundle; canSee decides on
// what relates to them. It returns nil if there is nothing.
func (s *Server) Bundle(ctx context.Context, events []*storage.Event, userID string, canSee func(*storage.Event) bool) (*Bundles, error) {
	senders := map[string]string{}
	for _, e := range events {
		if !e.IsState() {
			senders[e.ID] = e.Sender
		}
	}
	if len(senders) == 0 {
		return nil, nil
	}
	parents := slices.Collect(maps.Keys(senders))
	related, err := s.db.CountRelated(ctx, parents, userID, nil)
	if err != nil || len(related) == 0 {
		return nil, err
	}
	ignored, err := s.ignored(ctx, userID)
	if err != nil {
		return nil, err
	}
	if len(ignored) > 0 {
		if related, err = s.db.CountRelated(ctx, parents, userID, ignored); err != nil {
			return nil, err
		}
	}
	b := &Bundles{threads: map[string]bundledThread{}, references: map[string][]*storage.Event{}}
	latest, err := b.addThreads(ctx, s, related, senders, userID, canSee)
	if err != nil {
		return nil, err
	}
	if len(latest) > 0 {
		toLatest, err := s.db.CountRelated(ctx, latest, userID, ignored)
		if err != nil {
			return nil, err
		}
		related = append(related, toLatest...)
	}
	var edited []string
	for _, r := range related {
		switch r.Type {
		case "m.replace":
			edited = append(edited, r.ParentID)
		case "m.reference":
			if err := b.addReferences(ctx, s, r.ParentID, ignored, canSee); err != nil {
				return nil, err
			}
		}
	}
	return b, b.addEdits(ctx, s, edited, canSee)
}

// ignored lists whom the user ignores.
//
// https://spec.matrix.org/v1.19/client-server-api/#mignored_user_list
func (s *Server) ignored(ctx context.Context, userID string) ([]string, error) {
	content, err := s.db.GetAccountData(ctx, userID, "", "m.ignored_user_list")
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return IgnoredUsers(userID, content), nil
}

// addThreads adds the threads, and returns their newest events, to which others may relate.
func (b *Bundles) addThreads(ctx context.Context, s *Server, related []storage.Related, senders map[string]string, userID string,
	canSee func(*storage.Event) bool) (latest []string, err error) {
	var nids []int64
	for _, r := range related {
		if r.Type == "m.thread" {
			nids = append(nids, r.Latest)
		}
	}
	events, err := s.Events(ctx, nids)
	if err != nil {
		return nil, err
	}
	for _, r := range related {
		if e := events[r.Latest]; r.Type == "m.thread" && e != nil && canSee(e) {
			b.threads[r.ParentID] = bundledThread{e, r.Count, r.BySender || senders[r.ParentID] == userID}
			latest = append(latest, e.ID)
		}
	}
	return latest, nil
}

func (b *Bundles) addReferences(ctx context.Context, s *Server, parent string, ignored []string, canSee func(*storage.Event) bool) error {
	nids, err := s.db.References(ctx, parent, ignored, maxReferences)
	if err != nil {
		return err
	}
	list, err := s.EventList(ctx, nids)
	if err != nil {
		return err
	}
	b.references[parent] = slices.DeleteFunc(list, func(e *storage.Event) bool { return !canSee(e) })
	return nil
}

func (b *Bundles) addEdits(ctx context.Context, s *Server, parents []string, canSee func(*storage.Event) bool) error {
	if len(parents) == 0 {
		return nil
	}
	nids, err := s.db.LatestEdits(ctx, parents)
	if err != nil {
		return err
	}
	events, err := s.Events(ctx, slices.Collect(maps.Values(nids)))
	if err != nil {
		return err
	}
	b.edits = map[string]*storage.Event{}
	for parent, nid := range nids {
		if e := events[nid]; e != nil && canSee(e) {
			b.edits[parent] = e
		}
	}
	return nil
}

// Append appends ,"m.relations":{…} for unsigned, or nothing.
func (b *Bundles) append(out []byte, e *storage.Event, to Reader) []byte {
	if b == nil {
		return out
	}
	thread, isThread := b.threads[e.ID]
	edit, references := b.edits[e.ID], b.references[e.ID]
	if !isThread && edit == nil && len(references) == 0 {
		return out
	}
	start := len(out)
	to.Membership = ""
	if edit != nil {
		out = append(out, `,"m.replace":`...)
		out = AppendClientEvent(out, edit, nil, to)
	}
	if isThread {
		latest := to
		latest.Bundles = &Bundles{edits: b.edits, references: b.references}
		out = append(out, `,"m.thread":{"latest_event":`...)
		out = AppendClientEvent(out, thread.latest, nil, latest)
		out = append(out, `,"count":`...)
		out = strconv.AppendInt(out, int64(thread.count), 10)
		out = append(out, `,"current_user_participated":`...)
		out = append(strconv.AppendBool(out, thread.participated), '}')
	}
	if len(references) > 0 {
		out = append(out, `,"m.reference":{"chunk":[`...)
		for i, r := range references {
			if i > 0 {
				out = append(out, ',')
			}
			out = append(AppendString(append(out, `{"event_id":`...), r.ID), '}')
		}
		out = append(out, `]}`...)
	}
	out[start] = '{'
	return append(slices.Insert(out, start, []byte(`,"m.relations":`)...), '}')
}
