package push

import (
	"regexp"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
)

// glob is a pattern, to be matched by a whole text or by words in it.
type glob struct {
	pattern string
	words   bool
}

// maxGlobs bounds the patterns that are kept compiled.
const maxGlobs = 10_000

var globs = func() *lru.Cache[glob, *regexp.Regexp] {
	c, err := lru.New[glob, *regexp.Regexp](maxGlobs)
	if err != nil {
		panic(err) // only for a size that isn't positive
	}
	return c
}()

// matchesWhole matches the whole text, without regard to case.
//
// https://spec.matrix.org/v1.19/appendices/#glob-style-matching
func matchesWhole(pattern, text string) bool {
	if !strings.ContainsAny(pattern, "*?") {
		return strings.EqualFold(pattern, text)
	}
	return compile(glob{pattern, false}).MatchString(text)
}

// matchesWord matches any part of the text that begins and ends at the boundary of a
// word.
func matchesWord(pattern, text string) bool { return compile(glob{pattern, true}).MatchString(text) }

// compile makes a regular expression, of which Go's take time proportional to the text
// whatever the pattern.
func compile(g glob) *regexp.Regexp {
	if re, ok := globs.Get(g); ok {
		return re
	}
	var b strings.Builder
	if b.WriteString("(?is)^"); g.words {
		b.Reset()
		b.WriteString("(?is)(?:^|[^A-Za-z0-9_])")
	}
	for _, c := range g.pattern {
		switch c {
		case '*':
			b.WriteString(".*?")
		case '?':
			b.WriteByte('.')
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	if g.words {
		b.WriteString("(?:$|[^A-Za-z0-9_])")
	} else {
		b.WriteByte('$')
	}
	re := regexp.MustCompile(b.String()) // its parts are all quoted
	globs.Add(g, re)
	return re
}

// containsWord reports whether the word is in the text between boundaries of words. Both
// are in lower case.
func containsWord(text, word string) bool {
	if word == "" {
		return false
	}
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return false
		}
		start, end := from+i, from+i+len(word)
		if (start == 0 || !inWord(text[start-1])) && (end == len(text) || !inWord(text[end])) {
			return true
		}
		from = start + 1
	}
}

func inWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
