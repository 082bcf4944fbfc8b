package roomserver

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/matrix-org/gomatrixserverlib/spec"
	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
)

// levels are the numbers in the content of m.room.power_levels, without defaults: by the
// name of the object that they stand in, "" for the content itself.
type levels map[string]map[string]int64

var (
	levelNames   = []string{"users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"}
	levelObjects = []string{"events", "notifications", "users"}
)

// levelsIn reads levels as the room's version writes them.
func levelsIn(version int, content gjson.Result) (levels, error) {
	all := levels{"": {}}
	for _, name := range levelNames {
		value := content.Get(name)
		if !value.Exists() {
			continue
		}
		n, ok := level(version, value)
		if !ok {
			return nil, httpapi.BadJSON("%s isn't an integer", name)
		}
		all[""][name] = n
	}
	for _, name := range levelObjects {
		object := content.Get(name)
		if !object.Exists() || name == "notifications" && version < 6 {
			continue
		}
		if !object.IsObject() {
			return nil, httpapi.BadJSON("%s isn't an object", name)
		}
		list := map[string]int64{}
		bad := ""
		object.ForEach(func(key, value gjson.Result) bool {
			n, ok := level(version, value)
			if !ok {
				bad = key.Str
			}
			list[key.Str] = n
			return ok
		})
		if bad != "" {
			return nil, httpapi.BadJSON("The level of %q in %s isn't an integer", bad, name)
		}
		all[name] = list
	}
	return all, nil
}

// level reads a level, and reports whether it is one. In rooms before version 10 it may
// be a string, and before version 6 a number that isn't whole.
//
// https://spec.matrix.org/v1.19/rooms/v1/#mroompower_levels-events-accept-values-as-strings
func level(version int, value gjson.Result) (int64, bool) {
	text := value.Raw
	switch {
	case value.Type == gjson.String && version < 10:
		text = strings.TrimSpace(value.Str)
	case value.Type != gjson.Number:
		return 0, false
	case version < 6 && strings.ContainsAny(text, ".eE"):
		if math.Abs(value.Num) >= 1<<63 {
			return 0, false
		}
		return int64(value.Num), true
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// decideLevels is the rule for m.room.power_levels.
func (j *judgement) decideLevels() error {
	after, err := levelsIn(j.version, j.content)
	if err != nil {
		return err
	}
	for user := range after["users"] {
		if _, err := spec.NewUserID(user, true); err != nil {
			return httpapi.BadJSON("%q is no user id", user)
		}
		if j.power.v12 && slices.Contains(j.power.creators, user) {
			return httpapi.BadJSON("%s made the room, and is above all levels", user)
		}
	}
	if !j.power.content.Exists() {
		return nil
	}
	before, err := levelsIn(j.version, j.power.content)
	if err != nil {
		return httpapi.Forbidden("The room's power levels can't be read")
	}
	power := j.power.Of(j.sender())
	for name := range mergedKeys(before, after) {
		if err := j.decideChange(name, before[name], after[name], power); err != nil {
			return err
		}
	}
	return nil
}

// decideChange judges what changes in the content of power levels, or in one of the
// objects in it.
func (j *judgement) decideChange(object string, before, after map[string]int64, power int64) error {
	for key := range mergedKeys(before, after) {
		was, had := before[key]
		is, has := after[key]
		if had == has && was == is {
			continue
		}
		if has && is > power {
			return httpapi.Forbidden("%s, with power level %d, may not raise %s to %d", j.sender(), power, key, is)
		}
		if !had || object == "users" && key == j.sender() {
			continue
		}
		if was > power || object == "users" && was == power {
			return httpapi.Forbidden("%s, with power level %d, may not change %s, which is %d", j.sender(), power, key, was)
		}
	}
	return nil
}

func mergedKeys[V any](a, b map[string]V) map[string]bool {
	keys := make(map[string]bool, len(a)+len(b))
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	return keys
}
