package push

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"hearth/roomserver"
)

// Outcome is what a user's push rules make of an event. Without a rule that matches
// Actions is nil.
type Outcome struct {
	Actions              []any
	Notifies, Highlights bool
}

// evaluate finds the first of a user's rules that matches an event.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules
func (s *Ruleset) evaluate(userID string, on *subject) Outcome {
	on.left = maxEffort
	for _, kind := range kinds {
		for i := range *s.list(kind) {
			if r := &(*s.list(kind))[i]; r.Enabled && r.matches(kind, userID, on) {
				return outcome(r.Actions)
			}
		}
	}
	return Outcome{}
}

func outcome(actions []any) Outcome {
	o := Outcome{Actions: actions}
	for _, a := range actions {
		if a == "notify" {
			o.Notifies = true
		}
		if name, value, ok := tweakOf(a); ok && name == "highlight" {
			o.Highlights = value == nil || value == true
		}
	}
	// Who isn't notified has nothing highlighted either.
	o.Highlights = o.Highlights && o.Notifies
	return o
}

// tweaks are those that the actions set.
func (o Outcome) tweaks() map[string]any {
	tweaks := map[string]any{}
	for _, a := range o.Actions {
		name, value, ok := tweakOf(a)
		if ok && name == "highlight" && value == nil {
			value = true
		}
		if ok && value != nil {
			tweaks[name] = value
		}
	}
	return tweaks
}

func (r *Rule) matches(kind, userID string, on *subject) bool {
	switch kind {
	case "content":
		return on.left > 0 && on.body().Type == gjson.String && on.hasWord(r.Pattern)
	case "room":
		return r.ID == on.Event.RoomID
	case "sender":
		return r.ID == on.Event.Sender
	}
	for i := range r.Conditions {
		if !r.Conditions[i].holds(userID, on) {
			return false
		}
	}
	return true
}

func (c *Condition) holds(userID string, on *subject) bool {
	if on.left <= 0 {
		return false
	}
	switch c.Kind {
	case "event_match":
		v := on.property(c.Key)
		if v.Type != gjson.String || c.Pattern == nil {
			return false
		}
		if c.Key == "content.body" {
			return on.hasWord(*c.Pattern)
		}
		return on.left.matchesWhole(*c.Pattern, v.Str)
	case "event_property_is":
		return equal(on.property(c.Key), c.Value)
	case "event_property_contains":
		list := on.property(c.Key)
		if !list.IsArray() {
			return false
		}
		found := false
		list.ForEach(func(_, v gjson.Result) bool {
			found = equal(v, c.Value)
			return !found
		})
		return found
	case "contains_display_name":
		name := on.DisplayName(userID)
		return name != "" && on.left.containsWord(on.lowerBody(), strings.ToLower(name))
	case "room_member_count":
		return countIs(on.Joined, c.Is)
	case "sender_notification_permission":
		return c.Key != "" && on.MayNotify(c.Key)
	case threadSubscription:
		subscribed, says := on.subscription(userID)
		return says && c.Subscribed != nil && *c.Subscribed == subscribed
	}
	return false
}

// equal reports whether an event's property is exactly the simple JSON value.
func equal(property gjson.Result, value json.RawMessage) bool {
	if !property.Exists() || property.IsObject() || property.IsArray() {
		return false
	}
	v := gjson.ParseBytes(bytes.TrimSpace(value))
	if !v.Exists() || property.Type != v.Type {
		return false
	}
	switch v.Type {
	case gjson.String:
		return property.Str == v.Str
	case gjson.Number:
		return isInteger(property.Raw) && isInteger(v.Raw) && property.Num == v.Num
	case gjson.True, gjson.False, gjson.Null:
		return true
	}
	return false
}

func isInteger(raw string) bool {
	const most = 1<<53 - 1
	n, err := strconv.ParseInt(raw, 10, 64)
	return err == nil && n >= -most && n <= most
}

// countIs compares a number with a condition such as ">=10".
func countIs(n int, is string) bool {
	op := strings.TrimRight(is, "0123456789")
	m, err := strconv.Atoi(is[len(op):])
	if err != nil {
		return false
	}
	switch op {
	case "", "==":
		return n == m
	case "<":
		return n < m
	case ">":
		return n > m
	case "<=":
		return n <= m
	case ">=":
		return n >= m
	}
	return false
}

// subject is an event whose properties are looked up by several users' rules.
type subject struct {
	roomserver.Occasion
	event, content, text gjson.Result
	lower                *string
	left                 effort // for the rules of the user at hand
	// thread is the root of the thread that it is in, "" for none, and threads knows who
	// subscribes to it.
	thread  string
	threads *threads
}

func newSubject(o roomserver.Occasion, t *threads) *subject {
	event := gjson.ParseBytes(o.Event.JSON)
	content := event.Get("content")
	return &subject{Occasion: o, event: event, content: content, text: content.Get("body"), left: maxEffort,
		thread: roomserver.ThreadOf(o.Event), threads: t}
}

func (on *subject) body() gjson.Result { return on.text }

func (on *subject) lowerBody() string {
	if on.lower == nil {
		lower := ""
		if on.text.Type == gjson.String {
			lower = strings.ToLower(on.text.Str)
		}
		on.lower = &lower
	}
	return *on.lower
}

func (on *subject) hasWord(pattern string) bool {
	if !strings.ContainsAny(pattern, "*?") {
		return on.left.containsWord(on.lowerBody(), strings.ToLower(pattern))
	}
	return on.left.matchesWords(pattern, on.lowerBody())
}

// property returns a property of the event in the format of clients.
//
// https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths
func (on *subject) property(key string) gjson.Result {
	switch key {
	case "event_id":
		return gjson.Result{Type: gjson.String, Str: on.Event.ID}
	case "room_id":
		return gjson.Result{Type: gjson.String, Str: on.Event.RoomID}
	case "type":
		return gjson.Result{Type: gjson.String, Str: on.Event.Type}
	}
	if !on.left.spend(len(key) + len(on.Event.JSON)) {
		return gjson.Result{}
	}
	path := splitPath(key)
	at := on.event
	if path[0] == "content" {
		at, path = on.content, path[1:]
	}
	for _, name := range path {
		if !at.IsObject() || name == "" {
			return gjson.Result{}
		}
		at = at.Get(gjson.Escape(name))
	}
	return at
}

// splitPath splits a path at its dots; a backslash takes their meaning from dots and
// backslashes.
func splitPath(key string) []string {
	var path []string
	var part strings.Builder
	for i := 0; i < len(key); i++ {
		switch {
		case key[i] == '\\' && i+1 < len(key) && (key[i+1] == '.' || key[i+1] == '\\'):
			i++
			part.WriteByte(key[i])
		case key[i] == '.':
			path = append(path, part.String())
			part.Reset()
		default:
			part.WriteByte(key[i])
		}
	}
	return append(path, part.String())
}
