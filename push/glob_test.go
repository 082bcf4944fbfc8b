package push

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"hearth/roomserver"
	"hearth/storage"
)

// reference is the pattern as a regular expression.
func reference(pattern string, words bool) *regexp.Regexp {
	text := regexp.QuoteMeta(strings.ToLower(pattern))
	text = strings.ReplaceAll(strings.ReplaceAll(text, `\*`, `.*`), `\?`, `.`)
	if words {
		return regexp.MustCompile(`(?s)(?:^|[^A-Za-z0-9_])` + text + `(?:$|[^A-Za-z0-9_])`)
	}
	return regexp.MustCompile(`(?s)^` + text + `$`)
}

// FuzzGlob compares patterns with what regular expressions make of them.
func FuzzGlob(f *testing.F) {
	for _, pattern := range []string{"*", "?", "", "a", "a*", "*a", "a*b", "a?b*", "*a*b*", "?*?", "**", "é?", "a b", "!a", "a*a*a", "ab*b", "*.?*", "x*y z"} {
		for _, text := range []string{"", "a", "A", "ab", "a b", "xa", "a!", "é", "éa", "aéb", "a\nb", "xaby ab", "aab", "ab abb", "!a a", "x1y zz x y z", "日本 a"} {
			f.Add(pattern, text)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if !utf8.ValidString(pattern) || !utf8.ValidString(text) || len(pattern) > maxPattern || len(text) > 1000 {
			return
		}
		left := maxEffort
		lower := strings.ToLower(text)
		if !strings.ContainsAny(pattern, "*?") {
			if got, want := left.containsWord(lower, strings.ToLower(pattern)), pattern != "" && reference(pattern, true).MatchString(lower); got != want {
				t.Errorf("%q in %q: %v, want %v", pattern, text, got, want)
			}
			return
		}
		if got, want := left.matchesWords(pattern, lower), reference(pattern, true).MatchString(lower); got != want {
			t.Errorf("%q in %q: %v, want %v", pattern, text, got, want)
		}
		if got, want := left.matchesWhole(pattern, text), reference(pattern, false).MatchString(lower); got != want {
			t.Errorf("%q as %q: %v, want %v", pattern, text, got, want)
		}
	})
}

// TestCostlyRules: rules that were made to take long don't; those of others take effect.
func TestCostlyRules(t *testing.T) {
	body := strings.Repeat("a ", 30_000)
	on := newSubject(roomserver.Occasion{Event: &storage.Event{ID: "$e", RoomID: "!r", Type: "m.room.message", Sender: "@alice:a.b",
		JSON: fmt.Appendf(nil, `{"content":{"body":%q,"msgtype":"m.text"},"type":"m.room.message"}`, body)},
		DisplayName: func(string) string { return "" }, MayNotify: func(string) bool { return false }}, nil)
	costly := DefaultRuleset("@mallory:a.b")
	for i := range maxRules {
		pattern := strings.Repeat([]string{"a?", "*a?", "?*", "a "}[i%4], 80) + "b"
		r := Rule{ID: fmt.Sprint(i), Actions: []any{"notify"}, Pattern: pattern, Conditions: []Condition{eventMatch("content.body", pattern), eventMatch("content.msgtype", pattern)}}
		if err := costly.Put([]string{"content", "override"}[i%2], r, "", ""); err != nil {
			t.Fatal(err)
		}
	}
	if o := costly.evaluate("@mallory:a.b", on); o.Notifies || on.left > 0 || on.left < -1<<20 {
		t.Errorf("%+v, and %d is left", o, on.left)
	}
	if o := DefaultRuleset("@bob:a.b").evaluate("@bob:a.b", on); !o.Notifies || on.left < maxEffort/2 {
		t.Errorf("%+v, and %d is left", o, on.left)
	}
}
