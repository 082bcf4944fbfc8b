package federationapi

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"hearth/internal/canonicaljson"
	"hearth/internal/httpapi"
)

// members are those of an event that mean something.
var members = []string{"auth_events", "content", "depth", "event_id", "hashes", "origin", "origin_server_ts", "prev_events", "prev_state",
	"redacts", "room_id", "sender", "signatures", "state_key", "type", "unsigned"}

// wellFormed makes sure that all who read an event read the same. The library takes a
// member for another that differs in the case of its letters only; of members that are
// there twice some readers take the first and some the last.
func wellFormed(text json.RawMessage) error {
	event := gjson.ParseBytes(text)
	switch {
	case httpapi.Depth(text) > canonicaljson.MaxDepth:
		return httpapi.BadJSON("The event nests too deeply")
	case !event.IsObject() || !json.Valid(text):
		return httpapi.BadJSON("The event is no JSON object")
	case !readsAlike(event):
		return httpapi.BadJSON("The event has a member twice")
	}
	var bad string
	event.ForEach(func(key, value gjson.Result) bool {
		if name := key.String(); !slices.Contains(members, name) && slices.ContainsFunc(members, func(m string) bool { return strings.EqualFold(m, name) }) {
			bad = name
		}
		return bad == ""
	})
	if bad != "" {
		return httpapi.BadJSON("The event's member %q is written wrongly", bad)
	}
	if depth := event.Get("depth"); depth.Type != gjson.Number || strings.HasPrefix(depth.Raw, "-") {
		return httpapi.BadJSON("The event's depth isn't a number that isn't negative")
	}
	return rightKinds(event)
}

// rightKinds makes sure that members are of the kinds that they must be: the library gives
// up the program over some that aren't.
func rightKinds(event gjson.Result) error {
	for _, name := range []string{"content", "hashes", "signatures"} {
		if !event.Get(name).IsObject() {
			return httpapi.BadJSON("The event's %s is no object", name)
		}
	}
	for _, name := range []string{"auth_events", "prev_events"} {
		if !event.Get(name).IsArray() {
			return httpapi.BadJSON("The event's %s is no list", name)
		}
	}
	for _, name := range []string{"type", "sender", "room_id", "state_key", "event_id", "redacts", "origin"} {
		if value := event.Get(name); value.Exists() && value.Type != gjson.String {
			return httpapi.BadJSON("The event's %s is no string", name)
		}
	}
	return nil
}

// readsAlike reports whether no object in a value has a member twice.
func readsAlike(value gjson.Result) bool {
	if !value.IsObject() && !value.IsArray() {
		return true
	}
	alike, seen := true, map[string]bool{}
	value.ForEach(func(key, inner gjson.Result) bool {
		if value.IsObject() {
			alike = !seen[key.String()]
			seen[key.String()] = true
		}
		alike = alike && readsAlike(inner)
		return alike
	})
	return alike
}
