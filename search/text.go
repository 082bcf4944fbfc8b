package search

import (
	"strconv"
	"strings"

	"github.com/tidwall/gjson"

	"hearth/internal/words"
	"hearth/storage"
)

// keys are what can be searched, and the weights under which the index has them.
//
// https://spec.matrix.org/v1.19/client-server-api/#search-categories
var keys = map[string]string{"content.name": "A", "content.topic": "B", "content.body": "D"}

// textOf is what an event is found by, and the key's weight; "" for nothing.
func textOf(e *storage.Event) (text, weight string) {
	if e.RedactedBy != "" {
		return "", ""
	}
	content := gjson.GetBytes(e.JSON, "content")
	switch {
	case e.Type == "m.room.message":
		return content.Get("body").Str, "D"
	case e.Type == "m.room.name" && e.IsState():
		return content.Get("name").Str, "A"
	case e.Type == "m.room.topic" && e.IsState():
		text = content.Get("topic").Str
		for _, t := range content.Get(`m\.topic.m\.text`).Array() {
			if mime := t.Get("mimetype"); !mime.Exists() || mime.Str == "text/plain" {
				if body := t.Get("body").Str; body != text {
					text += "\n" + body
				}
			}
		}
		return text, "B"
	}
	return "", ""
}

// maxWords bounds the words by which one event is found.
const maxWords = 8192

// vector is the text of a tsvector that has each event's words at its number.
func vector(events []*storage.Event) string {
	type place struct {
		number int
		weight string
	}
	places := map[string][]place{}
	var order []string
	for i, e := range events {
		text, weight := textOf(e)
		list := words.Stemmed(text)
		for _, w := range list[:min(len(list), maxWords)] {
			at := places[w.Term]
			if at == nil {
				order = append(order, w.Term)
			}
			if len(at) == 0 || at[len(at)-1].number != i+1 {
				places[w.Term] = append(at, place{i + 1, weight})
			}
		}
	}
	var b strings.Builder
	for _, term := range order {
		b.WriteString(quote(term))
		for i, p := range places[term] {
			b.WriteByte(":,"[min(i, 1)])
			b.WriteString(strconv.Itoa(p.number))
			if p.weight != "D" {
				b.WriteString(p.weight)
			}
		}
		b.WriteByte(' ')
	}
	return b.String()
}

var quoted = strings.NewReplacer(`'`, `''`, `\`, `\\`)

// quote writes a term for a tsvector or tsquery.
func quote(term string) string { return "'" + quoted.Replace(term) + "'" }

// query is the text of a tsquery for blocks with all of the words.
func query(list []words.Word) string {
	parts := make([]string, len(list))
	for i, w := range list {
		if parts[i] = quote(w.Term); w.Prefix {
			parts[i] += ":*"
		}
	}
	return strings.Join(parts, " & ")
}
