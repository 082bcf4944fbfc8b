package push

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/roomserver"
	"hearth/storage"
)

// maxEvents bounds the events that are read for a pusher at a time.
const maxEvents = 50

var requests = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "hearth_push_requests_total", Help: "Requests to push gateways."}, []string{"outcome"})

// reading runs f when the database may be read.
func (s *Sender) reading(f func(ctx context.Context) error) error {
	select {
	case s.reads <- struct{}{}:
	case <-s.quit.Done():
		return s.quit.Err()
	}
	defer func() { <-s.reads }()
	return f(s.ctx)
}

// tellAll tells a pusher what there is up to a position, and moves it on.
func (s *Sender) tellAll(l *line, t todo, upTo storage.Position) error {
	var p *storage.Pusher
	var ignored []string
	err := s.reading(func(ctx context.Context) (err error) {
		if p, err = s.db.GetPusher(ctx, l.key); errors.Is(err, storage.ErrNotFound) {
			return errGone
		} else if err != nil {
			return err
		}
		if ignored, err = Ignored(ctx, s.db, l.key.UserID); err != nil {
			return err
		}
		return s.count(ctx, l, t, ignored, upTo)
	})
	if err != nil {
		return err
	}
	told := false
	for p.Position < upTo {
		var events []*storage.Event
		var reached storage.Position
		if err := s.reading(func(ctx context.Context) (err error) {
			events, reached, err = s.unsent(ctx, p, t, ignored, upTo)
			return err
		}); err != nil {
			return err
		}
		for _, e := range events {
			if s.quit.Err() != nil {
				return s.quit.Err()
			}
			sent, err := s.tell(l, p, e)
			if err != nil {
				return err
			}
			told = told || sent
			if err := s.db.SetPusherPosition(s.ctx, l.key, e.Position); err != nil {
				return err
			}
		}
		p.Position = reached
	}
	if !told && t.read && s.badge(l) != l.badge {
		if err := s.send(l, p, &notification{}, nil); err != nil {
			return err
		}
	}
	return s.db.SetPusherPosition(s.ctx, l.key, upTo)
}

// count brings the unread counts of the rooms up to date in which something happened.
func (s *Sender) count(ctx context.Context, l *line, t todo, ignored []string, upTo storage.Position) error {
	var rooms []int64
	s.people.mu.Lock()
	everywhere := l.unread == nil
	if who := s.people.users[l.key.UserID]; who != nil {
		for nid, m := range who.memberships {
			if m.joined && (everywhere || t.all || t.rooms[nid]) {
				rooms = append(rooms, nid)
			}
		}
	}
	s.people.mu.Unlock()
	counts, err := s.db.CountUnread(ctx, rooms, l.key.UserID, ignored, upTo)
	if err != nil {
		return err
	}
	s.people.mu.Lock()
	defer s.people.mu.Unlock()
	if everywhere || t.all {
		l.unread = map[int64]int{}
	}
	for nid := range t.rooms {
		delete(l.unread, nid)
	}
	for nid, threads := range counts {
		n := 0
		for _, c := range threads {
			n += c.Notifications
		}
		l.unread[nid] = n
	}
	return nil
}

// badge is the user's unread count over all rooms.
func (s *Sender) badge(l *line) int {
	s.people.mu.RLock()
	defer s.people.mu.RUnlock()
	n := 0
	for _, unread := range l.unread {
		n += unread
	}
	return n
}

// unsent reads what the pusher is to be told next, and up to where that is all.
func (s *Sender) unsent(ctx context.Context, p *storage.Pusher, t todo, ignored []string, upTo storage.Position) ([]*storage.Event, storage.Position, error) {
	var rooms []int64
	if !t.all {
		rooms = []int64{}
		for nid := range t.rooms {
			rooms = append(rooms, nid)
		}
	}
	span := storage.Span{After: p.Position, UpTo: upTo}
	events, err := s.db.UnsentEvents(ctx, p.UserID, rooms, ignored, span, maxEvents)
	if err != nil {
		return nil, 0, err
	}
	if len(events) == maxEvents {
		span.UpTo = events[maxEvents-1].Position
	}
	if t.invited {
		invites, err := s.db.UnsentInvites(ctx, p.UserID, ignored, span)
		if err != nil {
			return nil, 0, err
		}
		rules, err := s.o.Rooms.InviteRulesOf(ctx, p.UserID)
		if err != nil {
			return nil, 0, err
		}
		invites = slices.DeleteFunc(invites, func(e *storage.Event) bool { return rules.Judge(e.Sender) != roomserver.InviteTaken })
		events = append(events, invites...)
		slices.SortFunc(events, func(a, b *storage.Event) int { return int(a.Position - b.Position) })
	}
	return events, span.UpTo, nil
}

// tell tells a pusher of an event, unless its user's rules have changed since, or the
// event isn't theirs to see.
func (s *Sender) tell(l *line, p *storage.Pusher, e *storage.Event) (sent bool, err error) {
	v, err := s.o.Rooms.View(s.ctx, e.RoomID)
	if errors.Is(err, roomserver.ErrUnknownRoom) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	target := e.Type == "m.room.member" && e.IsState() && *e.StateKey == p.UserID
	if !target {
		vis, err := s.o.Rooms.Visibility(s.ctx, v, p.UserID)
		if err != nil || !vis.CanSee(e) || vis.MembershipAt(e.Place) != "join" {
			return false, err
		}
	}
	occasion := s.o.Rooms.Occasion(s.ctx, v, e)
	outcome := s.o.Book.Evaluate(p.UserID, occasion)
	if !outcome.Notifies {
		return false, nil
	}
	n := &notification{EventID: e.ID, RoomID: e.RoomID, Prio: "low"}
	tweaks := outcome.tweaks()
	if _, sounds := tweaks["sound"]; sounds || outcome.Highlights || e.Type == "m.room.encrypted" {
		n.Prio = "high"
	}
	if gjson.GetBytes(p.Data, "format").Str != "event_id_only" {
		n.Type, n.Sender, n.UserIsTarget = e.Type, e.Sender, target
		n.SenderDisplayName = occasion.DisplayName(e.Sender)
		n.RoomName, n.RoomAlias = v.Summary.Name, v.Summary.CanonicalAlias
		n.Content = json.RawMessage(gjson.GetBytes(e.JSON, "content").Raw)
	} else {
		tweaks = nil
	}
	return true, s.send(l, p, n, tweaks)
}

// send hands a notification to the pusher's gateway, with the user's unread count.
func (s *Sender) send(l *line, p *storage.Pusher, n *notification, tweaks map[string]any) error {
	target, data, err := splitData(p.Data)
	if err != nil {
		return err
	}
	badge := s.badge(l)
	n.Counts.Unread = badge
	n.Devices = []device{{AppID: p.AppID, Pushkey: p.Pushkey, PushkeyTS: p.ChangedAt.Unix(), Data: data, Tweaks: tweaks}}
	rejected, err := s.gateway.send(s.ctx, target, n)
	if err != nil {
		requests.WithLabelValues("failed").Inc()
		return err
	}
	l.badge = badge
	// A gateway speaks for the key that it was given, not for those of others.
	if slices.Contains(rejected, p.Pushkey) {
		requests.WithLabelValues("rejected").Inc()
		s.log.Info("a push gateway rejected a pushkey; its pushers are deleted", "user", p.UserID, "app", p.AppID)
		if err := s.db.DeletePushkey(s.ctx, p.AppID, p.Pushkey); err != nil {
			return err
		}
		return errGone
	}
	requests.WithLabelValues("sent").Inc()
	return nil
}

// splitData splits a pusher's data into the URL of its gateway and what the gateway is
// given. Errors are Matrix errors.
func splitData(text []byte) (url string, rest map[string]json.RawMessage, err error) {
	if err := httpapi.Unmarshal(text, &rest); err != nil {
		return "", nil, err
	}
	if rest["url"] == nil {
		return "", nil, httpapi.MissingParam("data.url is missing")
	}
	if err := json.Unmarshal(rest["url"], &url); err != nil {
		return "", nil, httpapi.InvalidParam("data.url must be a string")
	}
	delete(rest, "url")
	return url, rest, nil
}

// Ignored returns whom a user ignores.
func Ignored(ctx context.Context, db *storage.DB, userID string) ([]string, error) {
	content, err := db.GetAccountData(ctx, userID, "", "m.ignored_user_list")
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return roomserver.IgnoredUsers(userID, content), nil
}
