// Package push decides who is notified of what by push rules, and tells push gateways.
package push

import (
	"encoding/json"
)

// Rule is a push rule.
//
// https://spec.matrix.org/v1.19/client-server-api/#push-rules
type Rule struct {
	ID         string      `json:"rule_id"`
	Default    bool        `json:"default"`
	Enabled    bool        `json:"enabled"`
	Conditions []Condition `json:"conditions,omitempty"`
	Pattern    string      `json:"pattern,omitempty"`
	Actions    []any       `json:"actions"`
}

// MarshalJSON writes the conditions of .m.rule.master, which it has although
// there are none.
func (r Rule) MarshalJSON() ([]byte, error) {
	type plain Rule
	if r.Conditions == nil || len(r.Conditions) > 0 {
		return json.Marshal(plain(r))
	}
	return json.Marshal(struct {
		plain
		Conditions []Condition `json:"conditions"`
	}{plain(r), r.Conditions})
}

// Tweak is an action that changes how a notification is presented.
type Tweak struct {
	SetTweak string `json:"set_tweak"`
	Value    any    `json:"value,omitempty"`
}

// Ruleset holds the rules of each kind in the order in which they are tried.
type Ruleset struct {
	Override    []Rule `json:"override"`
	Content     []Rule `json:"content"`
	Postcontent []Rule `json:"postcontent"`
	Room        []Rule `json:"room"`
	Sender      []Rule `json:"sender"`
	Underride   []Rule `json:"underride"`
}

func eventMatch(key, pattern string) Condition {
	return Condition{Kind: "event_match", Key: key, Pattern: &pattern}
}

func memberCount(is string) Condition { return Condition{Kind: "room_member_count", Is: is} }

func quoted(s string) json.RawMessage {
	text, _ := json.Marshal(s) // a string always marshals
	return text
}

func sound(name string) Tweak { return Tweak{SetTweak: "sound", Value: name} }

var highlight = Tweak{SetTweak: "highlight"}

func predefined(id string, conditions []Condition, actions ...any) Rule {
	if actions == nil {
		actions = []any{}
	}
	return Rule{ID: id, Default: true, Enabled: true, Conditions: conditions, Actions: actions}
}

// DefaultRuleset returns the rules that a user of a server has before changing
// any.
//
// https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
func DefaultRuleset(userID string) *Ruleset {
	return &Ruleset{
		Override: defaultOverride(userID),
		Content:  []Rule{}, Postcontent: defaultPostcontent(), Room: []Rule{}, Sender: []Rule{},
		Underride: defaultUnderride(),
	}
}

func defaultOverride(userID string) []Rule {
	master := predefined(".m.rule.master", []Condition{})
	master.Enabled = false
	return []Rule{
		master,
		predefined(".m.rule.suppress_notices", []Condition{eventMatch("content.msgtype", "m.notice")}),
		predefined(".m.rule.invite_for_me", []Condition{eventMatch("type", "m.room.member"),
			eventMatch("content.membership", "invite"), eventMatch("state_key", userID)}, "notify", sound("default")),
		predefined(".m.rule.member_event", []Condition{eventMatch("type", "m.room.member")}),
		predefined(".m.rule.is_user_mention", []Condition{
			{Kind: "event_property_contains", Key: `content.m\.mentions.user_ids`, Value: quoted(userID)}}, "notify", sound("default"), highlight),
		predefined(".m.rule.is_room_mention", []Condition{
			{Kind: "event_property_is", Key: `content.m\.mentions.room`, Value: json.RawMessage("true")},
			{Kind: "sender_notification_permission", Key: "room"}}, "notify", highlight),
		predefined(".m.rule.tombstone", []Condition{eventMatch("type", "m.room.tombstone"), eventMatch("state_key", "")},
			"notify", highlight),
		predefined(".m.rule.reaction", []Condition{eventMatch("type", "m.reaction")}),
		predefined(".m.rule.room.server_acl", []Condition{eventMatch("type", "m.room.server_acl"), eventMatch("state_key", "")}),
		predefined(pollRule+"poll_response", isPoll("response")),
		predefined(".m.rule.suppress_edits", []Condition{
			{Kind: "event_property_is", Key: `content.m\.relates_to.rel_type`, Value: quoted("m.replace")}}),
	}
}

// threadSubscription is the kind of the condition that an event is in a thread that its reader
// has subscribed to, or in another.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4306
const threadSubscription = "io.element.msc4306.thread_subscription"

func defaultPostcontent() []Rule {
	is := func(subscribed bool) []Condition {
		return []Condition{{Kind: threadSubscription, Subscribed: &subscribed}}
	}
	return []Rule{
		predefined(".io.element.msc4306.rule.unsubscribed_thread", is(false)),
		predefined(".io.element.msc4306.rule.subscribed_thread", is(true), "notify", sound("default")),
	}
}

func defaultUnderride() []Rule {
	return []Rule{
		predefined(".m.rule.call", []Condition{eventMatch("type", "m.call.invite")}, "notify", sound("ring")),
		predefined(".m.rule.encrypted_room_one_to_one", []Condition{memberCount("2"), eventMatch("type", "m.room.encrypted")},
			"notify", sound("default")),
		predefined(".m.rule.room_one_to_one", []Condition{memberCount("2"), eventMatch("type", "m.room.message")},
			"notify", sound("default")),
		predefined(".m.rule.message", []Condition{eventMatch("type", "m.room.message")}, "notify"),
		predefined(".m.rule.encrypted", []Condition{eventMatch("type", "m.room.encrypted")}, "notify"),
		predefined(pollRule+"poll_start_one_to_one", append([]Condition{memberCount("2")}, isPoll("start")...), "notify", sound("default")),
		predefined(pollRule+"poll_start", isPoll("start"), "notify"),
		predefined(pollRule+"poll_end_one_to_one", append([]Condition{memberCount("2")}, isPoll("end")...), "notify", sound("default")),
		predefined(pollRule+"poll_end", isPoll("end"), "notify"),
	}
}

// pollRule begins the ids of the rules for polls.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/3930
const pollRule = ".org.matrix.msc3930.rule."

func isPoll(part string) []Condition {
	return []Condition{eventMatch("type", "org.matrix.msc3381.poll."+part)}
}

// DefaultRules is the content of the m.push_rules account data of a user who
// hasn't changed any rule.
func DefaultRules(userID string) json.RawMessage { return DefaultRuleset(userID).content() }
