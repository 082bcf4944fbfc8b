package clientapi

import (
	"regexp"
	"strings"
	"testing"
)

var (
	labelled = regexp.MustCompile(`<label>.*</label>`)
	field    = regexp.MustCompile(`<input [^>]*>`)
	fieldID  = regexp.MustCompile(` id="([^"]+)"`)
	// unseen is a field for the browser alone.
	unseen = regexp.MustCompile(` type="hidden"| hidden>`)
)

// TestFieldsHaveLabels has each field of the pages that people fill in lie within a label, or have
// one of its own: who can't see the page knows what it is, and a click on the text ticks a box.
func TestFieldsHaveLabels(t *testing.T) {
	pages, err := pageFiles.ReadDir("pages")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range pages {
		text, err := pageFiles.ReadFile("pages/" + page.Name())
		if err != nil {
			t.Fatal(err)
		}
		rest := labelled.ReplaceAllString(string(text), "")
		for _, input := range field.FindAllString(rest, -1) {
			id := fieldID.FindStringSubmatch(input)
			if !unseen.MatchString(input) && (id == nil || !strings.Contains(rest, `<label for="`+id[1]+`">`)) {
				t.Errorf("%s: %s has no label", page.Name(), input)
			}
		}
	}
}
