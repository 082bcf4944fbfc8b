// Package words takes text apart into what it is searched by, in any script.
package words

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kljensen/snowball/english"
	"golang.org/x/text/unicode/norm"
)

const (
	// maxWord bounds a word, in bytes; longer ones are cut.
	maxWord = 64
	// maxText bounds the text that is looked at, in bytes.
	maxText = 64 << 10
)

// Word is a word of a text.
type Word struct {
	// Term is what the word is compared by: without case and accents.
	Term string
	// Text is the word as it stands in the text, in lower case.
	Text string
	// Prefix is whether everything that begins with Term is meant.
	Prefix bool
}

// Of returns the words of a text. Scripts that don't put spaces between words are
// taken apart into pairs of characters.
func Of(text string) []Word { return split(text, nil) }

// Stemmed is Of with English words reduced to their stems, so that "searches" is found
// by "searching".
func Stemmed(text string) []Word {
	return split(text, func(term string) string {
		for i := range len(term) {
			if term[i] < 'a' || term[i] > 'z' {
				return term
			}
		}
		return english.Stem(term, true)
	})
}

// split cuts text into runs of characters that belong together.
func split(text string, stem func(string) string) (list []Word) {
	if len(text) > maxText {
		text = text[:maxText]
	}
	start, kind := 0, none
	for i, r := range text + " " {
		k := kindOf(r)
		if k == mark && kind != none {
			continue
		}
		if k != kind || k == symbol {
			list = appendRun(list, text[start:min(i, len(text))], kind, stem)
			start, kind = i, k
		}
	}
	return list
}

type kind int

const (
	none   kind = iota
	letter      // of a script with spaces, or a digit
	dense       // of a script without spaces
	symbol      // stands for itself, such as an emoji
	mark        // belongs to what comes before it
)

// denseScripts don't put spaces between words.
var denseScripts = []*unicode.RangeTable{unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar, unicode.Tibetan}

func kindOf(r rune) kind {
	switch {
	case r < 0x80:
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' {
			return letter
		}
		return none
	case r == 'ー' || r == '々' || unicode.In(r, denseScripts...):
		return dense
	case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsNumber(r):
		return letter
	case unicode.IsMark(r):
		return mark
	case unicode.Is(unicode.So, r):
		return symbol
	}
	return none
}

func appendRun(list []Word, run string, k kind, stem func(string) string) []Word {
	if k == none || k == mark || run == "" {
		return list
	}
	text := strings.ToLower(run)
	if k == dense {
		return appendPairs(list, norm.NFKC.String(text))
	}
	term := cut(fold(text))
	if stem != nil && k == letter {
		term = stem(term)
	}
	if term == "" {
		return list
	}
	return append(list, Word{Term: term, Text: cut(text)})
}

// appendPairs appends each pair of neighbouring characters, and the last character:
// what is searched for may be that alone.
func appendPairs(list []Word, run string) []Word {
	runes := []rune(run)
	for i := range runes {
		pair := string(runes[i:min(i+2, len(runes))])
		list = append(list, Word{Term: pair, Text: pair})
	}
	return list
}

// fold takes accents, and different ways to write the same character, from text in lower
// case.
func fold(s string) string {
	ascii := true
	for i := range len(s) {
		ascii = ascii && s[i] < utf8.RuneSelf
	}
	if ascii {
		return s
	}
	var b strings.Builder
	for _, r := range norm.NFKD.String(s) {
		switch {
		case r == 'ß':
			b.WriteString("ss")
		case r == 'ø':
			b.WriteByte('o')
		case r == 'ł':
			b.WriteByte('l')
		case r == 'ı':
			b.WriteByte('i')
		case unicode.Is(unicode.Mn, r):
		default:
			b.WriteRune(r)
		}
	}
	return norm.NFC.String(b.String())
}

func cut(s string) string {
	if len(s) <= maxWord {
		return s
	}
	n := maxWord
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// Query returns the words to search for, each once and at most limit. A single
// character of a script without spaces stands for all that begins with it.
func Query(list []Word, limit int) (query []Word) {
	seen := map[string]bool{}
	for i, w := range list {
		if utf8.RuneCountInString(w.Term) == 1 && kindOf([]rune(w.Term)[0]) == dense {
			if i > 0 && strings.HasSuffix(list[i-1].Term, w.Term) && utf8.RuneCountInString(list[i-1].Term) == 2 {
				continue // the end of a run, which its last pair has
			}
			w.Prefix = true
		}
		if !seen[w.Term] && len(query) < limit {
			seen[w.Term] = true
			query = append(query, w)
		}
	}
	return query
}

// Matches reports whether w, of a query, means the other word.
func (w Word) Matches(other Word) bool {
	return w.Term == other.Term || w.Prefix && strings.HasPrefix(other.Term, w.Term)
}
