package roomserver

import (
	"strings"

	"github.com/tidwall/gjson"
)

// maxGlob bounds a pattern, in characters: what it is to match has no more than 255, with any
// text between them.
const maxGlob = 2*255 + 1

// globList are patterns in which * stands for any text and ? for any character. What they
// match costs at most the product of both lengths.
//
// https://spec.matrix.org/v1.19/appendices/#glob-style-matching
type globList [][]rune

// parseGlobs reads a list of patterns, and reports whether it is one, or isn't there.
func parseGlobs(list gjson.Result) (globs globList, valid bool) {
	if list.Type == gjson.Null {
		return nil, true
	}
	for _, g := range list.Array() {
		if g.Type != gjson.String {
			return nil, false
		}
		globs = globs.with(g.Str)
	}
	return globs, list.IsArray()
}

// with adds a pattern, unless nothing can match it.
func (l globList) with(glob string) globList {
	for strings.Contains(glob, "**") {
		glob = strings.ReplaceAll(glob, "**", "*")
	}
	if pattern := []rune(strings.ToLower(glob)); len(pattern) <= maxGlob {
		return append(l, pattern)
	}
	return l
}

func (l globList) bytes() (n int64) {
	for _, g := range l {
		n += 4*int64(len(g)) + 24
	}
	return n
}

func (l globList) matches(text string) bool {
	if len(l) == 0 {
		return false
	}
	runes := []rune(strings.ToLower(text))
	for _, g := range l {
		if matchesGlob(g, runes) {
			return true
		}
	}
	return false
}

func matchesGlob(pattern, text []rune) bool {
	p, star, from := 0, -1, 0
	for t := 0; t < len(text); {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0: // the last star stands for one more
			from++
			p, t = star+1, from
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
