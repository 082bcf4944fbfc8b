package clientapi

import (
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/benbjohnson/immutable"
	"github.com/maypok86/otter/v2"

	"hearth/roomserver"
)

const (
	// maxWalk bounds the rooms that one walk comes to, and maxSteps those it looks at
	// for one page.
	maxWalk, maxSteps = 10_000, 500
	// askFor is for how long a page asks other servers before it ends early.
	askFor = 10 * time.Second
	// walksBudget bounds what is kept of walks between their pages, in bytes, and
	// walksFor how long.
	walksBudget = 16 << 20
	walksFor    = 10 * time.Minute
)

// hierarchyQuery is what stays the same from page to page.
type hierarchyQuery struct {
	userID, root  string
	suggestedOnly bool
	maxDepth      int
}

// hierarchyWalk goes through a tree of spaces depth first. Each page leaves another
// walk behind, so that one may be asked for again.
type hierarchyWalk struct {
	a *API
	hierarchyQuery
	// next are the rooms to look at, the last first.
	next []hierarchyNode
	// seen are those that were looked at: spaces may contain one another.
	seen *immutable.Map[string, struct{}]
}

type hierarchyNode struct {
	roomID string
	depth  int
	via    []string // nobody is to be asked if empty
	// told is what another server said of the room when it described the space.
	told *roomserver.Description
}

func newHierarchyWalk(a *API, q hierarchyQuery, via []string) *hierarchyWalk {
	return &hierarchyWalk{a: a, hierarchyQuery: q, next: []hierarchyNode{{roomID: q.root, via: via}}, seen: immutable.NewMap[string, struct{}](nil)}
}

// page returns up to limit rooms and moves the walk on, to a room that is shown if it
// finds one.
func (w *hierarchyWalk) page(ctx context.Context, limit int) ([]*roomserver.SpaceRoom, error) {
	rooms := []*roomserver.SpaceRoom{}
	begin := time.Now()
	for steps := 0; len(w.next) > 0 && steps < maxSteps && (steps == 0 || time.Since(begin) < askFor); steps++ {
		n := w.next[len(w.next)-1]
		room, below, err := w.look(ctx, n)
		if err != nil {
			return nil, err
		}
		if room != nil && len(rooms) == limit {
			break
		}
		w.next = w.next[:len(w.next)-1]
		w.seen = w.seen.Set(n.roomID, struct{}{})
		if room != nil {
			rooms = append(rooms, room)
		}
		if n.depth < w.maxDepth && len(w.next)+len(below) < maxWalk {
			slices.Reverse(below)
			w.next = append(w.next, below...)
		}
		w.skipSeen()
		if w.seen.Len() >= maxWalk {
			w.next = nil
		}
	}
	return rooms, nil
}

// skipSeen drops the next rooms that were looked at already.
func (w *hierarchyWalk) skipSeen() {
	for len(w.next) > 0 {
		if _, seen := w.seen.Get(w.next[len(w.next)-1].roomID); !seen {
			return
		}
		w.next = w.next[:len(w.next)-1]
	}
}

// look describes a room and lists what is below it. It returns nil for one that the
// user may not know of.
func (w *hierarchyWalk) look(ctx context.Context, n hierarchyNode) (*roomserver.SpaceRoom, []hierarchyNode, error) {
	remote, err := w.a.rooms.Remote(ctx, n.roomID)
	if err != nil {
		return nil, nil, err
	}
	if remote {
		return w.lookFar(ctx, n)
	}
	v, err := w.a.rooms.View(ctx, n.roomID)
	if err != nil {
		return nil, nil, err
	}
	d, err := w.a.rooms.DescribeTo(ctx, v, w.userID)
	if err != nil || d == nil {
		return nil, nil, err
	}
	children, err := w.a.rooms.SpaceChildren(ctx, v, w.suggestedOnly)
	if err != nil {
		return nil, nil, err
	}
	return &roomserver.SpaceRoom{Description: *d, Children: children}, nodes(children, n.depth+1, nil), nil
}

// lookFar is look for a room that this server isn't in.
func (w *hierarchyWalk) lookFar(ctx context.Context, n hierarchyNode) (*roomserver.SpaceRoom, []hierarchyNode, error) {
	var space *roomserver.Space
	if w.a.o.Federation != nil && len(n.via) > 0 && (n.told == nil || n.told.RoomType == "m.space") {
		space = w.a.o.Federation.AskSpace(ctx, n.roomID, n.via, w.suggestedOnly)
	}
	switch {
	case ctx.Err() != nil:
		return nil, nil, ctx.Err()
	case space == nil && n.told == nil:
		return nil, nil, nil
	case space == nil:
		space = &roomserver.Space{Room: roomserver.SpaceRoom{Description: *n.told, Children: []roomserver.SpaceChild{}}}
	}
	if may, err := w.a.rooms.MayKnow(ctx, &space.Room.Description, w.userID); err != nil || !may {
		return nil, nil, err
	}
	return &space.Room, nodes(space.Room.Children, n.depth+1, space), nil
}

// nodes are the children as rooms to look at; space, if not nil, says more of them.
func nodes(children []roomserver.SpaceChild, depth int, space *roomserver.Space) []hierarchyNode {
	told, closed := map[string]*roomserver.Description{}, map[string]bool{}
	if space != nil {
		for i := range space.Children {
			told[space.Children[i].RoomID] = &space.Children[i]
		}
		for _, id := range space.Inaccessible {
			closed[id] = true
		}
	}
	list := make([]hierarchyNode, 0, len(children))
	for _, c := range children {
		n := hierarchyNode{roomID: c.RoomID, depth: depth, told: told[c.RoomID]}
		if !closed[c.RoomID] {
			n.via = c.Via()
		}
		list = append(list, n)
	}
	return list
}

// hierarchyWalks keeps walks for their next page.
type hierarchyWalks struct {
	byToken *otter.Cache[string, *hierarchyWalk]
}

func newHierarchyWalks() hierarchyWalks {
	return hierarchyWalks{otter.Must(&otter.Options[string, *hierarchyWalk]{
		MaximumWeight:    walksBudget,
		Weigher:          func(_ string, w *hierarchyWalk) uint32 { return uint32(400*len(w.next) + 150*w.seen.Len() + 500) },
		ExpiryCalculator: otter.ExpiryWriting[string, *hierarchyWalk](walksFor),
	})}
}

// keep returns the token by which the walk goes on.
func (h hierarchyWalks) keep(w *hierarchyWalk) string {
	token := rand.Text()
	h.byToken.Set(token, w)
	return token
}

// find returns a copy of the walk with the token, nil for none.
func (h hierarchyWalks) find(token string) *hierarchyWalk {
	kept, ok := h.byToken.GetIfPresent(token)
	if !ok {
		return nil
	}
	w := *kept
	w.next = slices.Clone(kept.next)
	return &w
}
