package roomserver

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
)

// This file is the authorisation rules as the pages of the room versions number them:
// slow, obvious, and sharing nothing with the package's own.

type tuple struct{ typ, key string }

// refEvent is an event as the reference sees it.
type refEvent struct {
	id, typ, sender, redacts string
	key                      *string
	content                  map[string]any
	prev, auth               []*refEvent
	ts, depth                int64
	rejected, softFailed     bool
	before                   refState // the state before it
}

type refState map[tuple]*refEvent

func (e *refEvent) tuple() tuple { return tuple{e.typ, *e.key} }

func (e *refEvent) str(name string) string {
	s, _ := e.content[name].(string)
	return s
}

func domainOf(id string) string { return id[strings.IndexByte(id, ':')+1:] }

// refRules are the rules of a room version.
type refRules struct {
	version int
	create  *refEvent // which, from version 12 on, the room's id names
}

// selection is "auth events selection" of the server-server API, with the create event.
func (r refRules) selection(e *refEvent) []tuple {
	if e.typ == "m.room.create" {
		return nil
	}
	list := []tuple{{"m.room.create", ""}, {"m.room.power_levels", ""}, {"m.room.member", e.sender}}
	if e.typ == "m.room.member" {
		list = append(list, tuple{"m.room.member", *e.key})
		switch e.str("membership") {
		case "join", "invite", "knock":
			list = append(list, tuple{"m.room.join_rules", ""})
		}
		if via := e.str("join_authorised_via_users_server"); e.str("membership") == "join" && via != "" && r.version >= 8 {
			list = append(list, tuple{"m.room.member", via})
		}
	}
	return list
}

// byAuthEvents is the rule "considering the event's auth_events", and then all others by
// these.
func (r refRules) byAuthEvents(e *refEvent) bool {
	state := refState{}
	for _, a := range e.auth {
		if a.key == nil || state[a.tuple()] != nil || !slices.Contains(r.selection(e), a.tuple()) || a.rejected || a.typ == "m.room.create" && r.version >= 12 {
			return false
		}
		state[a.tuple()] = a
	}
	if r.version >= 12 {
		state[tuple{"m.room.create", ""}] = r.create
	}
	return state[tuple{"m.room.create", ""}] != nil && r.allowed(e, state)
}

func membershipInState(s refState, user string) string {
	if m := s[tuple{"m.room.member", user}]; m != nil {
		return m.str("membership")
	}
	return "leave"
}

// isCreator: from version 12 on there may be several, before 11 the content names them.
func (r refRules) isCreator(user string) bool {
	if r.version < 11 {
		return user == r.create.str("creator")
	}
	additional, _ := r.create.content["additional_creators"].([]any)
	return user == r.create.sender || r.version >= 12 && slices.Contains(additional, any(user))
}

func (r refRules) power(s refState, user string) int64 {
	levels := s[tuple{"m.room.power_levels", ""}]
	switch {
	case r.version >= 12 && r.isCreator(user):
		return math.MaxInt64
	case levels == nil && r.isCreator(user):
		return 100
	case levels == nil:
		return 0
	}
	users, _ := levels.content["users"].(map[string]any)
	if v, ok := users[user]; ok {
		return refInt(v)
	}
	return r.named(s, "users_default", 0)
}

func (r refRules) named(s refState, name string, fallback int64) int64 {
	if levels := s[tuple{"m.room.power_levels", ""}]; levels != nil {
		if v, ok := levels.content[name]; ok {
			return refInt(v)
		}
	}
	return fallback
}

func (r refRules) required(s refState, e *refEvent) int64 {
	if levels := s[tuple{"m.room.power_levels", ""}]; levels != nil {
		events, _ := levels.content["events"].(map[string]any)
		if v, ok := events[e.typ]; ok {
			return refInt(v)
		}
	}
	if e.key != nil {
		return r.named(s, "state_default", 50)
	}
	return r.named(s, "events_default", 0)
}

// refInt reads a level that was found to be one.
func refInt(v any) (n int64) {
	if _, err := fmt.Sscan(strings.TrimSpace(fmt.Sprint(v)), &n); err != nil {
		panic(err)
	}
	return n
}

func (r refRules) isInt(v any) bool {
	switch v := v.(type) {
	case json.Number:
		_, err := v.Int64()
		return err == nil
	case string:
		var n int64
		_, err := fmt.Sscan(strings.TrimSpace(v), &n)
		return err == nil && r.version < 10
	}
	return false
}

// allowed are the rules from that of m.federate on.
func (r refRules) allowed(e *refEvent, s refState) bool {
	create := s[tuple{"m.room.create", ""}]
	if create == nil || create.content["m.federate"] == false && domainOf(e.sender) != domainOf(create.sender) {
		return false
	}
	if e.typ == "m.room.aliases" && r.version < 6 {
		return e.key != nil && *e.key == domainOf(e.sender)
	}
	if e.typ == "m.room.member" {
		return r.memberAllowed(e, s)
	}
	if membershipInState(s, e.sender) != "join" {
		return false
	}
	if e.typ == "m.room.third_party_invite" {
		return r.power(s, e.sender) >= r.named(s, "invite", 0)
	}
	if r.required(s, e) > r.power(s, e.sender) {
		return false
	}
	if e.key != nil && strings.HasPrefix(*e.key, "@") && *e.key != e.sender {
		return false
	}
	if e.typ == "m.room.power_levels" {
		return r.levelsAllowed(e, s)
	}
	if e.typ == "m.room.redaction" && r.version < 3 {
		return r.power(s, e.sender) >= r.named(s, "redact", 50) || domainOf(e.redacts) == domainOf(e.id)
	}
	return true
}

func (r refRules) memberAllowed(e *refEvent, s refState) bool {
	target, before := *e.key, membershipInState(s, *e.key)
	power, joined := r.power(s, e.sender), membershipInState(s, e.sender) == "join"
	switch e.str("membership") {
	case "join":
		return r.joinAllowed(e, s)
	case "invite":
		return joined && before != "join" && before != "ban" && power >= r.named(s, "invite", 0)
	case "leave":
		if e.sender == target {
			return before == "invite" || before == "join" || before == "knock" && r.version >= 7
		}
		if !joined || before == "ban" && power < r.named(s, "ban", 50) {
			return false
		}
		return power >= r.named(s, "kick", 50) && r.power(s, target) < power
	case "ban":
		return joined && power >= r.named(s, "ban", 50) && r.power(s, target) < power
	case "knock":
		rule := r.joinRule(s)
		if r.version < 7 || rule != "knock" && (rule != "knock_restricted" || r.version < 10) || e.sender != target {
			return false
		}
		return before != "ban" && before != "invite" && before != "join"
	}
	return false
}

func (r refRules) joinRule(s refState) string {
	if rules := s[tuple{"m.room.join_rules", ""}]; rules != nil {
		return rules.str("join_rule")
	}
	return "invite"
}

func (r refRules) joinAllowed(e *refEvent, s refState) bool {
	target, before := *e.key, membershipInState(s, *e.key)
	if len(e.prev) == 1 && e.prev[0].typ == "m.room.create" && (target == r.create.sender && r.version >= 11 || target == r.create.str("creator") && r.version < 11) {
		return true
	}
	if e.sender != target || before == "ban" {
		return false
	}
	known := before == "invite" || before == "join"
	switch rule := r.joinRule(s); {
	case rule == "invite", rule == "knock" && r.version >= 7:
		return known
	case rule == "restricted" && r.version >= 8, rule == "knock_restricted" && r.version >= 10:
		via := e.str("join_authorised_via_users_server")
		return known || membershipInState(s, via) == "join" && r.power(s, via) >= r.named(s, "invite", 0)
	case rule == "public":
		return true
	}
	return false
}

func (r refRules) levelsAllowed(e *refEvent, s refState) bool {
	names := []string{"users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"}
	objects := []string{"events", "users"}
	if r.version >= 6 {
		objects = append(objects, "notifications")
	}
	for _, name := range names {
		if v, ok := e.content[name]; ok && !r.isInt(v) {
			return false
		}
	}
	for _, name := range objects {
		object, ok := e.content[name].(map[string]any)
		if _, present := e.content[name]; present && !ok {
			return false
		}
		for key, v := range object {
			if !r.isInt(v) || name == "users" && (key[0] != '@' || r.version >= 12 && r.isCreator(key)) {
				return false
			}
		}
	}
	old := s[tuple{"m.room.power_levels", ""}]
	if old == nil {
		return true
	}
	power := r.power(s, e.sender)
	for _, name := range names {
		if was, is := old.content[name], e.content[name]; !sameLevel(was, is) && (was != nil && refInt(was) > power || is != nil && refInt(is) > power) {
			return false
		}
	}
	for _, name := range objects {
		was, _ := old.content[name].(map[string]any)
		is, _ := e.content[name].(map[string]any)
		for key, v := range was {
			changed := !sameLevel(v, is[key])
			if changed && refInt(v) > power || changed && name == "users" && key != e.sender && refInt(v) >= power {
				return false
			}
		}
		for key, v := range is {
			if !sameLevel(v, was[key]) && refInt(v) > power {
				return false
			}
		}
	}
	return true
}

func sameLevel(a, b any) bool {
	if a == nil || b == nil {
		return a == b
	}
	return refInt(a) == refInt(b)
}
