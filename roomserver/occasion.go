package roomserver

import (
	"context"

	"github.com/tidwall/gjson"

	"hearth/storage"
)

// Occasion is an event and what push rules ask of its room.
type Occasion struct {
	Event *storage.Event
	// Joined is how many have joined the room.
	Joined int
	// IsJoined reports whether a user has.
	IsJoined func(userID string) bool
	// DisplayName is what a user is called in the room, "" for nothing.
	DisplayName func(userID string) string
	// MayNotify reports whether the event's sender has the power for notifications of a
	// kind, such as "room".
	MayNotify func(kind string) bool
}

// Verdict is what an event means to a user by their own push rules.
type Verdict struct {
	UserID               string
	Notifies, Highlights bool
}

// Occasion is the occasion of a committed event, with the room as it is in the view.
func (s *Server) Occasion(ctx context.Context, v *View, e *storage.Event) Occasion {
	return Occasion{
		Event: e, Joined: v.Summary.JoinedMembers,
		IsJoined: func(userID string) bool {
			entry, _ := v.Entry("m.room.member", userID)
			return entry.Membership == "join"
		},
		DisplayName: func(userID string) string {
			member, err := s.StateEvent(ctx, v, "m.room.member", userID)
			if err != nil || member == nil {
				return ""
			}
			return gjson.GetBytes(member.JSON, "content.displayname").Str
		},
		MayNotify: func(kind string) bool {
			p, err := s.PowerLevels(ctx, v)
			return err == nil && p.Of(e.Sender) >= p.notification(kind)
		},
	}
}

// except notes for whom the event counts otherwise than by the default push rules.
// What they are told apart by is kept with the event, so that whoever counts later
// comes to the same result.
func (b *builder) except(e *storage.Event) {
	if b.s.o.Verdicts == nil {
		return
	}
	at := len(b.change.Events) - 1
	highlighted := map[string]bool{}
	for _, h := range b.change.Highlights {
		if h.Event == at {
			highlighted[h.UserID] = true
		}
	}
	for _, v := range b.s.o.Verdicts(b.occasion(e)) {
		highlights := highlighted[v.UserID] || highlighted[""]
		if v.Highlights != highlights || v.Notifies != (e.Notifies || highlights) {
			b.change.Exceptions = append(b.change.Exceptions, storage.Exception{
				UserID: v.UserID, Event: at, Notifies: v.Notifies, Highlights: v.Highlights})
		}
	}
}

func (b *builder) occasion(e *storage.Event) Occasion {
	return Occasion{
		Event: e, Joined: b.head.summary.JoinedMembers,
		IsJoined: func(userID string) bool {
			entry, _ := b.head.state.Get(storage.StateTuple{Type: "m.room.member", StateKey: userID})
			return entry.Membership == "join"
		},
		DisplayName: func(userID string) string {
			pdu, err := b.statePDU(storage.StateTuple{Type: "m.room.member", StateKey: userID})
			if err != nil || pdu == nil {
				return ""
			}
			return gjson.GetBytes(pdu.Content(), "displayname").Str
		},
		MayNotify: func(kind string) bool {
			p := b.powerLevels()
			return p.Of(e.Sender) >= p.notification(kind)
		},
	}
}

// ThreadOf returns the root of the thread that the event is in, "" for none.
//
// https://spec.matrix.org/v1.19/client-server-api/#threading
func ThreadOf(e *storage.Event) string {
	if r, ok := e.Relation(); ok && r.Type == "m.thread" {
		return r.EventID
	}
	return ""
}

// ThreadOf returns the root of the thread that the event is in, be it because it relates to one
// of the thread's events, "" for none.
//
// https://spec.matrix.org/v1.19/client-server-api/#threaded-read-receipts
func (s *Server) ThreadOf(ctx context.Context, e *storage.Event) (string, error) {
	r, ok := e.Relation()
	if !ok || r.Type == "m.thread" {
		return ThreadOf(e), nil
	}
	threads, err := s.db.IndirectThreads(ctx, []int64{e.NID})
	return threads[e.NID], err
}

// maxIgnored bounds the users whom one user can ignore.
const maxIgnored = 10_000

// IgnoredUsers reads whom a user ignores from the content of their m.ignored_user_list.
//
// https://spec.matrix.org/v1.19/client-server-api/#mignored_user_list
func IgnoredUsers(userID string, content []byte) []string {
	var users []string
	gjson.GetBytes(content, "ignored_users").ForEach(func(id, _ gjson.Result) bool {
		if id.Str != userID {
			users = append(users, id.Str)
		}
		return len(users) < maxIgnored
	})
	return users
}
