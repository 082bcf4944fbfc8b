package mediaapi

import (
	"mime"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzDisposition: any name that is accepted comes back unharmed, and no name
// breaks out of its header.
func FuzzDisposition(f *testing.F) {
	for _, name := range []string{"a.txt", "a b", `"\`, "a;b=c", "☃", "\r\nX: y", "%41", "*", ""} {
		f.Add("image/png", name)
	}
	f.Fuzz(func(t *testing.T, contentType, name string) {
		if !utf8.ValidString(name) {
			return
		}
		header := disposition(contentType, name)
		if !printableASCII(strings.ReplaceAll(header, "\t", "")) {
			t.Fatalf("%q", header)
		}
		_, params, err := mime.ParseMediaType(header)
		if err != nil || params["filename"] != name {
			t.Fatalf("%q became %q: %v", name, header, err)
		}
	})
}

// FuzzContentType: what is kept is safe to send and never inline by accident.
func FuzzContentType(f *testing.F) {
	for _, s := range []string{"image/png", "text/html; charset=utf-8", "image/png, text/html", "a/b;;", "/", "text/plain;x=\"\\\"\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, claimed string) {
		kept := uploadContentType(&http.Request{Header: http.Header{"Content-Type": {claimed}}})
		if !printableASCII(kept) || len(kept) > maxContentType || !strings.Contains(kept, "/") {
			t.Fatalf("%q", kept)
		}
		if strings.HasPrefix(disposition(kept, ""), "inline") {
			main, _, _ := strings.Cut(kept, ";")
			if !inlineTypes[strings.ToLower(strings.TrimSpace(main))] {
				t.Fatalf("%q is inline", kept)
			}
		}
	})
}
