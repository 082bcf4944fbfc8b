package push

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"hearth/internal/httpapi"
)

const (
	// maxRules bounds the rules that a user adds, maxConditions and maxActions what one
	// consists of.
	maxRules, maxConditions, maxActions = 500, 20, 10
	// maxID and maxPattern bound a rule's id and pattern, maxPart a condition or an action,
	// and maxContent all rules together, in bytes.
	maxID, maxPattern, maxPart, maxContent = 255, 255, 1024, 256 << 10
)

const master = ".m.rule.master"

// list returns the rules of a kind, nil for a kind that doesn't exist.
func (s *Ruleset) list(kind string) *[]Rule {
	switch kind {
	case "override":
		return &s.Override
	case "content":
		return &s.Content
	case "postcontent":
		return &s.Postcontent
	case "room":
		return &s.Room
	case "sender":
		return &s.Sender
	case "underride":
		return &s.Underride
	}
	return nil
}

var kinds = []string{"override", "content", "postcontent", "room", "sender", "underride"}

// isDefault reports whether an id is that of a rule that the server has for everyone.
func isDefault(id string) bool { return strings.HasPrefix(id, ".") }

func indexOf(rules []Rule, id string) int {
	return slices.IndexFunc(rules, func(r Rule) bool { return r.ID == id })
}

// Find returns a rule, which may be changed in its place, by its kind and id. Errors are
// Matrix errors.
func (s *Ruleset) Find(kind, id string) (*Rule, error) {
	rules := s.list(kind)
	if rules == nil {
		return nil, httpapi.InvalidParam("There is no such kind of push rule")
	}
	i := indexOf(*rules, id)
	if i < 0 {
		return nil, httpapi.NotFound("There is no such push rule")
	}
	return &(*rules)[i], nil
}

// Put adds a rule or changes it. It comes just before the rule that is named by before,
// or else just after that named by after; with neither a new rule comes first and an old
// one stays where it is. An old one stays enabled or disabled as it is. Errors are Matrix
// errors.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3pushrulesglobalkindruleid
func (s *Ruleset) Put(kind string, r Rule, before, after string) error {
	rules := s.list(kind)
	if rules == nil {
		return httpapi.InvalidParam("There is no such kind of push rule")
	}
	if err := r.check(kind); err != nil {
		return err
	}
	old := indexOf(*rules, r.ID)
	if r.Enabled = true; old >= 0 {
		r.Enabled = (*rules)[old].Enabled
	} else if s.added() >= maxRules {
		return httpapi.LimitReached("You have %d push rules, the most there may be", maxRules)
	}
	anchor := before
	if anchor == "" {
		anchor = after
	}
	if old >= 0 && (anchor == "" || anchor == r.ID) {
		(*rules)[old] = r
		return nil
	}
	if anchor != "" && (isDefault(anchor) || indexOf(*rules, anchor) < 0) {
		return httpapi.New(http.StatusBadRequest, "M_UNKNOWN", "before/after rule not found: %s", anchor)
	}
	if old >= 0 {
		*rules = slices.Delete(*rules, old, old+1)
	}
	at := 0
	switch {
	case before != "":
		at = indexOf(*rules, before)
	case after != "":
		at = indexOf(*rules, after) + 1
	case len(*rules) > 0 && (*rules)[0].ID == master: // it comes before all others
		at = 1
	}
	*rules = slices.Insert(*rules, at, r)
	return nil
}

// Delete deletes a rule that the user has added. Errors are Matrix errors.
func (s *Ruleset) Delete(kind, id string) error {
	if _, err := s.Find(kind, id); err != nil {
		return err
	}
	if isDefault(id) {
		return httpapi.NotFound("A rule of the server's can be disabled but not deleted")
	}
	rules := s.list(kind)
	*rules = slices.DeleteFunc(*rules, func(r Rule) bool { return r.ID == id })
	return nil
}

// added is how many rules the user has added.
func (s *Ruleset) added() int {
	n := 0
	for _, kind := range kinds {
		for _, r := range *s.list(kind) {
			if !r.Default {
				n++
			}
		}
	}
	return n
}

// check checks a rule that a user adds and removes what has no meaning for its kind.
func (r *Rule) check(kind string) error {
	switch {
	case kind == "postcontent":
		return httpapi.InvalidParam("Only the server has rules of this kind")
	case isDefault(r.ID):
		return httpapi.InvalidParam("An id that begins with a dot is the server's")
	case strings.ContainsAny(r.ID, `/\`):
		return httpapi.InvalidParam("An id has no slashes and no backslashes")
	case r.ID == "" || len(r.ID) > maxID:
		return httpapi.InvalidParam("A rule's id is between 1 and %d bytes long", maxID)
	case kind == "content" && r.Pattern == "":
		return httpapi.MissingParam("A content rule needs a pattern")
	case len(r.Pattern) > maxPattern:
		return httpapi.InvalidParam("The pattern is longer than %d bytes", maxPattern)
	case len(r.Conditions) > maxConditions:
		return httpapi.InvalidParam("A rule has at most %d conditions", maxConditions)
	}
	for _, c := range r.Conditions {
		text, err := json.Marshal(c)
		if c.Kind == "" {
			return httpapi.BadJSON("A condition needs a kind")
		}
		if err != nil || len(text) > maxPart || c.Pattern != nil && len(*c.Pattern) > maxPattern {
			return httpapi.InvalidParam("A condition is too long")
		}
	}
	if kind != "content" {
		r.Pattern = ""
	}
	switch {
	case kind != "override" && kind != "underride":
		r.Conditions = nil
	case r.Conditions == nil:
		r.Conditions = []Condition{}
	}
	return r.SetActions(r.Actions)
}

// SetActions replaces what the rule does. Errors are Matrix errors. The actions of former
// versions of the specification do nothing, but clients find them where they put them.
//
// https://spec.matrix.org/v1.19/client-server-api/#historical-actions
func (r *Rule) SetActions(actions []any) error {
	if len(actions) > maxActions {
		return httpapi.InvalidParam("A rule has at most %d actions", maxActions)
	}
	for _, a := range actions {
		name, _, isTweak := tweakOf(a)
		if a != "notify" && a != "dont_notify" && a != "coalesce" && (!isTweak || name == "") {
			return httpapi.InvalidParam("An action is notify, or an object with set_tweak")
		}
		if text, err := json.Marshal(a); err != nil || len(text) > maxPart {
			return httpapi.InvalidParam("An action is too long")
		}
	}
	r.Actions = append([]any{}, actions...)
	return nil
}

// tweakOf reads an action that sets a tweak.
func tweakOf(action any) (name string, value any, ok bool) {
	switch a := action.(type) {
	case Tweak:
		return a.SetTweak, a.Value, true
	case map[string]any:
		name, ok = a["set_tweak"].(string)
		return name, a["value"], ok
	}
	return "", nil, false
}

// content is the ruleset as m.push_rules account data.
func (s *Ruleset) content() json.RawMessage {
	content, err := json.Marshal(map[string]any{"global": s})
	if err != nil {
		panic(fmt.Sprintf("push: rules can't be written: %v", err)) // they came from JSON
	}
	return content
}

// parse reads m.push_rules account data. The server's rules are those of this program,
// whichever it knew when the data was written; what the user changed of them stays.
func parse(userID string, content []byte) (*Ruleset, error) {
	var stored struct {
		Global Ruleset `json:"global"`
	}
	if err := json.Unmarshal(content, &stored); err != nil {
		return nil, fmt.Errorf("reading the push rules of %s: %w", userID, err)
	}
	merged := DefaultRuleset(userID)
	for _, kind := range kinds {
		old, rules := *stored.Global.list(kind), merged.list(kind)
		for i := range *rules {
			r := &(*rules)[i]
			if j := indexOf(old, r.ID); j >= 0 {
				r.Enabled = old[j].Enabled
				if !sameActions(r.Actions, old[j].Actions) {
					r.Actions = old[j].Actions
				}
			}
		}
		added := slices.DeleteFunc(old, func(r Rule) bool { return isDefault(r.ID) })
		at := 0
		if len(*rules) > 0 && (*rules)[0].ID == master {
			at = 1
		}
		*rules = slices.Insert(*rules, at, added...)
	}
	return merged, nil
}

func sameActions(a, b []any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

// Content is what a user's m.push_rules account data is shown as, given what is stored,
// nil for nothing.
func Content(userID string, stored []byte) json.RawMessage {
	if stored == nil {
		return DefaultRules(userID)
	}
	rules, err := parse(userID, stored)
	if err != nil {
		return DefaultRules(userID)
	}
	return rules.content()
}
