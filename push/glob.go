package push

import (
	"strings"
	"unicode/utf8"
)

// effort is what may still be spent on one user's rules for one event, roughly in bytes that are looked at: rules
// are evaluated before a message is sent, for all who have their own, and anybody may have many.
type effort int

// maxEffort is that at the beginning. Whatever people's own rules are, they come nowhere near it; when nothing is left, no
// condition holds.
const maxEffort effort = 4 << 20

// spend reports whether there is so much left, and takes it.
func (e *effort) spend(n int) bool {
	*e -= effort(n)
	return *e > 0
}

// matchesWhole matches a pattern, with * and ?, with the whole text, without regard to case.
//
// https://spec.matrix.org/v1.19/appendices/#glob-style-matching
func (e *effort) matchesWhole(pattern, text string) bool {
	if !e.spend(len(pattern) + len(text)) {
		return false
	}
	if !strings.ContainsAny(pattern, "*?") {
		return strings.EqualFold(pattern, text)
	}
	parts, text := strings.Split(strings.ToLower(pattern), "*"), strings.ToLower(text)
	at := e.matchAt(parts[0], text, 0)
	return e.matchRest(parts[1:], text, at, func(end int) bool { return end == len(text) })
}

// matchesWords matches a pattern with any part of the text, which is in lower case, that begins and ends at the boundary of
// a word.
func (e *effort) matchesWords(pattern, text string) bool {
	if !e.spend(len(pattern) + len(text)) {
		return false
	}
	parts := strings.Split(strings.ToLower(pattern), "*")
	// What follows the first part is found wherever that is, the earlier the better. If nothing does, it must end right as well.
	for start := 0; start >= 0 && *e > 0; start = nextWord(text, start) {
		at := e.matchAt(parts[0], text, start)
		if at < 0 || len(parts) == 1 && !endsWord(text, at) {
			continue
		}
		return e.matchRest(parts[1:], text, at, func(end int) bool { return endsWord(text, end) })
	}
	return false
}

// matchRest matches the parts, between which there may be anything, from a place on; the last where it ends right. It is
// enough to take each where it is found first.
func (e *effort) matchRest(parts []string, text string, at int, endsRight func(int) bool) bool {
	if at < 0 {
		return false
	}
	if len(parts) == 0 {
		return endsRight(at)
	}
	for i, part := range parts {
		last := i == len(parts)-1
		if last && part == "" { // anything may follow
			return true
		}
		end := -1
		for ; at <= len(text) && *e > 0; at++ {
			if end = e.matchAt(part, text, at); end >= 0 && (!last || endsRight(end)) {
				break
			}
			end = -1
		}
		if end < 0 {
			return false
		}
		at = end
	}
	return true
}

// matchAt matches a part without * at a place of the text, which must be the beginning of a character, and returns where
// it ends, -1 if it doesn't match.
func (e *effort) matchAt(part, text string, at int) int {
	if at < len(text) && !utf8.RuneStart(text[at]) {
		return -1
	}
	for i := range len(part) {
		if !e.spend(1) || at >= len(text) {
			return -1
		}
		switch {
		case part[i] == '?':
			_, size := utf8.DecodeRuneInString(text[at:])
			at += size
		case part[i] != text[at]:
			return -1
		default:
			at++
		}
	}
	return at
}

// containsWord reports whether the word is in the text between boundaries of words. Both
// are in lower case.
func (e *effort) containsWord(text, word string) bool {
	if word == "" {
		return false
	}
	for from := 0; from >= 0; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			e.spend(len(text) - from)
			return false
		}
		start, end := from+i, from+i+len(word)
		if !e.spend(end - from) {
			return false
		}
		if (start == 0 || !inWord(text[start-1])) && endsWord(text, end) {
			return true
		}
		from = nextWord(text, start)
	}
	return false
}

// endsWord reports whether a word may end at a place.
func endsWord(text string, at int) bool { return at == len(text) || !inWord(text[at]) }

// nextWord is the next place behind another where a word may begin, -1 if there is none.
func nextWord(text string, at int) int {
	for ; at < len(text); at++ {
		if !inWord(text[at]) {
			return at + 1
		}
	}
	return -1
}

func inWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
