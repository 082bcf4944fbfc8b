package words

import (
	"fmt"
	"testing"
	"unicode/utf8"
)

func terms(list []Word) (terms []string) {
	for _, w := range list {
		term := w.Term
		if w.Prefix {
			term += "*"
		}
		terms = append(terms, term)
	}
	return terms
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "[]",
		"Searching, SEARCHED & searches": "[search search search]",
		"it's 2-fold":                    "[it s 2 fold]",
		"Ärger im Café, straße":          "[arger im cafe strass]",
		"Cafe\u0301":                     "[cafe]",
		"今日は晴れ":                          "[今日 日は は晴 晴れ れ]",
		"see 東京 today 🎉":                 "[see 東京 京 today 🎉]",
		"Привет, мир":                    "[привет мир]",
	} {
		if got := fmt.Sprint(terms(Stemmed(text))); got != want {
			t.Errorf("%q has the words %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"東京":    "[東京]",
		"京":     "[京*]",
		"晴れ 晴れ": "[晴れ]",
		"a b a": "[a b]",
	} {
		if got := fmt.Sprint(terms(Query(Of(text), 10))); got != want {
			t.Errorf("%q searches for %v, want %v", text, got, want)
		}
	}
}

// FuzzWords: what is searched for by its own text is found.
func FuzzWords(f *testing.F) {
	f.Add("今日は Café 🎉 running")
	f.Fuzz(func(t *testing.T, text string) {
		list := Stemmed(text)
		for _, w := range list {
			if w.Term == "" || len(w.Term) > maxWord && utf8.ValidString(text) {
				t.Fatalf("%q has the word %q", text, w.Term)
			}
		}
		for _, q := range Query(list, 100) {
			found := false
			for _, w := range list {
				found = found || q.Matches(w)
			}
			if !found {
				t.Fatalf("%q isn't found by its word %q", text, q.Term)
			}
		}
	})
}
