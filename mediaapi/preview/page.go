// Package preview finds out what a web page says of itself: by OpenGraph, Twitter
// cards, oEmbed or, failing these, its title and text. It reads hostile pages: it
// builds no tree, follows nothing, and everything that it returns is bounded.
package preview

import (
	"io"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
	"golang.org/x/net/html/charset"
)

const (
	// maxText bounds what is returned of a text, in bytes.
	maxText = 1000
	// maxURL bounds an address.
	maxURL = 2048
	// maxParagraphs bounds the page's own text that stands in for a description.
	maxParagraphs = 500
)

// Page is what a page says of itself. Addresses are absolute, of http or https.
type Page struct {
	Title, Description, SiteName, Type string
	// URL is the page's address as it gives it; Image that of its picture; OEmbed that of a
	// document that says more.
	URL, Image, OEmbed string
	ImageAlt           string
}

// Parse reads a page that was found at base and is of the given Content-Type, which
// may tell its charset. It reads no further than it must, at most to the end of r, which
// bounds what it takes, and makes do with what comes before anything that can't be read.
func Parse(r io.Reader, contentType string, base *url.URL) *Page {
	p := &parser{base: base, found: map[string]string{}}
	// What has no known charset is read as UTF-8 or, if it isn't, as Windows-1252.
	decoded, err := charset.NewReader(r, contentType)
	if err != nil { // an empty page
		return p.page()
	}
	z := html.NewTokenizer(decoded)
	for {
		switch z.Next() {
		case html.ErrorToken:
			return p.page()
		case html.StartTagToken:
			p.start(z, false)
		case html.SelfClosingTagToken:
			p.start(z, true)
		case html.EndTagToken:
			name, _ := z.TagName()
			tag := atom.Lookup(name)
			if tag == atom.Head && p.complete() {
				return p.page()
			}
			p.end(tag)
		case html.TextToken:
			p.text(z)
		}
	}
}

// parser collects what stands in a page's tags.
type parser struct {
	base  *url.URL
	found map[string]string // by property: the first of each
	// in is the element whose text is being read: title, h1 or p; skip counts the
	// elements around whose text is nobody's.
	in   atom.Atom
	skip int
	read strings.Builder
	// paragraphs is the page's own text.
	paragraphs strings.Builder
}

// properties are those that are kept, each under the name by which it is looked for.
var properties = map[string]string{
	"og:title": "og:title", "og:description": "og:description", "og:site_name": "og:site_name", "og:type": "og:type", "og:url": "og:url",
	"og:image": "og:image", "og:image:url": "og:image", "og:image:secure_url": "og:image", "og:image:alt": "og:image:alt",
	"twitter:title": "twitter:title", "twitter:description": "twitter:description",
	"twitter:image": "twitter:image", "twitter:image:src": "twitter:image", "twitter:image:alt": "twitter:image:alt",
	"description": "description",
}

func (p *parser) start(z *html.Tokenizer, closed bool) {
	name, more := z.TagName()
	switch tag := atom.Lookup(name); tag {
	case atom.Svg: // the only one of these that is closed by a slash
		if !closed {
			p.skip++
		}
	case atom.Meta, atom.Link, atom.Base:
		if p.skip == 0 {
			p.tag(tag, attributes(z, more))
		}
	case atom.Title, atom.H1, atom.P:
		p.finish()
		p.in = tag
	case atom.Script, atom.Style, atom.Noscript, atom.Template, atom.Nav, atom.Footer, atom.Aside:
		p.skip++
	case atom.Br:
		p.read.WriteByte(' ')
	}
}

func (p *parser) end(tag atom.Atom) {
	switch tag {
	case atom.Title, atom.H1, atom.P:
		p.finish()
	case atom.Script, atom.Style, atom.Noscript, atom.Template, atom.Svg, atom.Nav, atom.Footer, atom.Aside:
		p.skip = max(0, p.skip-1)
	}
}

func (p *parser) text(z *html.Tokenizer) {
	if p.in == 0 || p.skip > 0 || p.read.Len() > maxText {
		return
	}
	raw := z.Text()
	p.read.Write(raw[:min(len(raw), 4*maxText)])
}

// finish ends the element whose text is being read.
func (p *parser) finish() {
	text := clean(p.read.String(), maxText)
	p.read.Reset()
	switch p.in {
	case atom.Title, atom.H1:
		p.set(p.in.String(), text)
	case atom.P:
		if text != "" && p.paragraphs.Len() < maxParagraphs {
			p.paragraphs.WriteString(text + "\n")
		}
	}
	p.in = 0
}

// attributes returns those that matter here.
func attributes(z *html.Tokenizer, more bool) map[string]string {
	all := map[string]string{}
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		switch string(key) {
		case "property", "name", "content", "rel", "type", "href":
			if _, twice := all[string(key)]; !twice {
				all[string(key)] = string(value)
			}
		}
	}
	return all
}

func (p *parser) tag(tag atom.Atom, a map[string]string) {
	switch tag {
	case atom.Meta:
		for _, name := range []string{a["property"], a["name"]} {
			if known := properties[strings.ToLower(strings.TrimSpace(name))]; known != "" {
				p.set(known, a["content"])
			}
		}
	case atom.Link:
		rel := strings.Fields(strings.ToLower(a["rel"]))
		for _, r := range rel {
			if r == "alternate" && strings.EqualFold(strings.TrimSpace(a["type"]), "application/json+oembed") {
				p.set("oembed", a["href"])
			}
			if r == "image_src" {
				p.set("image_src", a["href"])
			}
		}
	case atom.Base:
		if base := p.absolute(a["href"]); base != "" && p.found["base"] == "" {
			p.found["base"] = base
			if u, err := url.Parse(base); err == nil {
				p.base = u
			}
		}
	}
}

// complete reports whether nothing that may follow matters.
func (p *parser) complete() bool {
	return p.found["og:title"] != "" && p.found["og:description"] != "" && p.found["og:image"] != ""
}

func (p *parser) set(name, value string) {
	if value = strings.TrimSpace(value); value != "" && p.found[name] == "" {
		p.found[name] = value
	}
}

func (p *parser) page() *Page {
	p.finish()
	text := func(names ...string) string {
		for _, n := range names {
			if s := clean(p.found[n], maxText); s != "" {
				return s
			}
		}
		return ""
	}
	page := &Page{
		Title:       text("og:title", "twitter:title", "title", "h1"),
		Description: text("og:description", "twitter:description", "description"),
		SiteName:    text("og:site_name"), Type: text("og:type"), ImageAlt: text("og:image:alt", "twitter:image:alt"),
		URL: p.absolute(p.found["og:url"]), OEmbed: p.absolute(p.found["oembed"]),
	}
	if page.Description == "" {
		page.Description = clean(p.paragraphs.String(), maxParagraphs)
	}
	for _, n := range []string{"og:image", "twitter:image", "image_src"} {
		if page.Image = p.absolute(p.found[n]); page.Image != "" {
			break
		}
	}
	return page
}

func (p *parser) absolute(ref string) string { return Absolute(p.base, ref) }

// Absolute resolves an address found at base, "" for what leads nowhere on the web.
func Absolute(base *url.URL, ref string) string {
	ref = strings.TrimSpace(ref)
	if ref == "" || len(ref) > maxURL || base == nil {
		return ""
	}
	u, err := base.Parse(ref)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		return ""
	}
	if s := u.String(); len(s) <= maxURL {
		return s
	}
	return ""
}

// Line makes one line of a text, bounded, that people can read.
func Line(s string) string { return clean(s, maxText) }

// clean makes one line of text that people can read, of at most limit bytes.
func clean(s string, limit int) string {
	var b strings.Builder
	space := false
	for _, r := range s {
		if unicode.IsSpace(r) || unicode.IsControl(r) {
			space = true
			continue
		}
		// Marks that turn the direction of what follows, beyond the text itself.
		if r == utf8.RuneError || r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' {
			continue
		}
		if b.Len()+utf8.RuneLen(r)+1 > limit-len("…") {
			return b.String() + "…"
		}
		if space && b.Len() > 0 {
			b.WriteByte(' ')
		}
		space = false
		b.WriteRune(r)
	}
	return b.String()
}
