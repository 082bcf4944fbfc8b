package mediaapi

import (
	"bytes"
	"io"
	"mime"
	"strings"
	"testing"
	"unicode/utf8"

	"hearth/internal/httpapi"
)

// FuzzDisposition: any name that is accepted comes back unharmed, and no name
// breaks out of its header.
func FuzzDisposition(f *testing.F) {
	for _, name := range []string{"a.txt", "a b", `"\`, "a;b=c", "☃", "\r\nX: y", "%41", "*", ""} {
		f.Add(true, name)
	}
	f.Fuzz(func(t *testing.T, inline bool, name string) {
		if !utf8.ValidString(name) {
			return
		}
		header := (&served{inline: inline, filename: name}).disposition()
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
		kept := safeContentType(claimed)
		if !printableASCII(kept) || len(kept) > maxContentType || !strings.Contains(kept, "/") {
			t.Fatalf("%q", kept)
		}
		if inline, err := mayShow(kept, strings.NewReader("plain text")); err != nil || inline {
			main, _, _ := strings.Cut(kept, ";")
			if !inlineTypes[strings.ToLower(strings.TrimSpace(main))] {
				t.Fatalf("%q is inline", kept)
			}
		}
	})
}

// FuzzParts: whatever another server answers, what is made of it is safe to keep.
func FuzzParts(f *testing.F) {
	const contentType = "multipart/mixed; boundary=b"
	f.Add(contentType, []byte("--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: image/png\r\nContent-Disposition: inline; filename=\"a.png\"\r\n\r\nx\r\n--b--"))
	f.Add(contentType, []byte("--b\r\n\r\n{}\r\n--b\r\nLocation: https://example.org/\r\n\r\n\r\n--b--"))
	f.Add("multipart/mixed", []byte("--\r\n\r\n"))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		content, _, err := splitParts(contentType, io.NopCloser(bytes.NewReader(body)))
		if err != nil || content == nil {
			return
		}
		if !printableASCII(content.contentType) || !httpapi.IsText(content.filename) || strings.ContainsAny(content.filename, `/\`) {
			t.Fatalf("%q %q", content.contentType, content.filename)
		}
		if n, _ := io.Copy(io.Discard, content.body); n > int64(len(body)) {
			t.Fatalf("%d bytes of %d", n, len(body))
		}
	})
}
