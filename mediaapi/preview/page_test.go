package preview

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

var base = &url.URL{Scheme: "https", Host: "example.org", Path: "/a/b"}

func TestPages(t *testing.T) {
	for name, c := range map[string]struct {
		contentType, page string
		want              Page
	}{
		"opengraph": {"text/html; charset=utf-8", `<!doctype html><html prefix="og: https://ogp.me/ns#"><head><title>No</title>
			<meta property="og:title" content="A &amp; B"><meta property="og:description" content=" one
			two "/><meta property="og:image" content="/p.png"><meta property="og:image:alt" content="alt"><meta property="og:type" content="article">
			<meta property="og:site_name" content="S"><meta property="og:url" content="c?d=1&amp;e">`,
			Page{Title: "A & B", Description: "one two", Image: "https://example.org/p.png", ImageAlt: "alt", Type: "article", SiteName: "S", URL: "https://example.org/a/c?d=1&e"}},
		"twitter":        {"", `<META NAME="Twitter:Title" CONTENT=T><meta name="twitter:image:src" content="//cdn.example.org/i"><meta name=twitter:description content='D'>`, Page{Title: "T", Description: "D", Image: "https://cdn.example.org/i"}},
		"plain":          {"", `<title> The <b>title</b> </title><nav><p>menu</p></nav><p>First <i>words</i>.<p>More<br>words.</p><script>var p = "<p>no</p>"</script>`, Page{Title: "The <b>title</b>", Description: "First words. More words."}},
		"heading":        {"", `<h1>Heading</h1><style>p{}</style><meta name=description content=said>`, Page{Title: "Heading", Description: "said"}},
		"links":          {"", `<base href="https://other.example/x/"><link rel="alternate" type="application/json+oembed" href="o?format=json"><link rel="shortcut image_src" href="i.png">`, Page{OEmbed: "https://other.example/x/o?format=json", Image: "https://other.example/x/i.png"}},
		"latin1":         {"text/html; charset=iso-8859-1", "<title>caf\xe9</title>", Page{Title: "café"}},
		"meta charset":   {"text/html", `<meta charset="shift_jis"><title>` + "\x93\xfa\x96{" + `</title>`, Page{Title: "日本"}},
		"bom":            {"text/html", "\xff\xfe<\x00t\x00i\x00t\x00l\x00e\x00>\x00x\x00", Page{Title: "x"}},
		"unknown":        {"text/html; charset=klingon", "<title>caf\xe9</title>", Page{Title: "café"}},
		"scripts":        {"", `<meta property="og:image" content="javascript:alert(1)"><meta property="og:url" content="data:text/html,x"><meta name=twitter:image content="file:///etc/passwd"><link rel=image_src href="https://user:pw@example.org/">`, Page{}},
		"direction":      {"", "<title>a\u202eb\u2066c\x00\x1bd</title>", Page{Title: "abc d"}},
		"first wins":     {"", `<meta property="og:title" content="1"><meta property="og:title" content="2"><meta property="og:image" content=""><meta property="og:image" content="x">`, Page{Title: "1", Image: "https://example.org/a/x"}},
		"empty":          {"text/html", "", Page{}},
		"never closed":   {"text/html", `<title>x<!-- <meta property="og:title" content="in a comment">`, Page{Title: "x<!-- <meta property=\"og:title\" content=\"in a comment\">"}},
		"closed at once": {"", `<svg/><title>x</title><svg><title>y</title></svg>`, Page{Title: "x"}},
		"comment":        {"text/html", `<!-- <meta property="og:title" content="in a comment"> --><title>y</title>`, Page{Title: "y"}},
		"head is enough": {"", `<head><meta property=og:title content=t><meta property=og:description content=d><meta property=og:image content=i></head><meta property=og:site_name content=late>`, Page{Title: "t", Description: "d", Image: "https://example.org/a/i"}},
	} {
		if got := Parse(strings.NewReader(c.page), c.contentType, base); *got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, *got, c.want)
		}
	}
}

// hostilePages are made to cost much, or to be taken for what they aren't; each has about size bytes.
func hostilePages(size int) map[string]string {
	fill := func(s string) string { return strings.Repeat(s, size/len(s)+1) }
	return map[string]string{
		"depth":      fill("<div>"),
		"mixed":      fill("<table><a><b><svg><math><template>"),
		"skipped":    fill("<svg><nav></nav>") + "<title>x</title>" + fill("</svg>"),
		"closed":     fill("</p></title></svg></head>"),
		"attributes": "<meta " + fill(" a=b") + ">",
		"properties": "<meta " + fill(" property=og:title content=x") + ">",
		"one":        `<meta property="og:title" content="` + fill("x") + `">`,
		"unquoted":   "<meta property=og:title content=" + fill("x"),
		"addresses":  `<base href="https://example.org/` + fill("a/../") + `"><meta property="og:image" content="` + fill("../") + `">`,
		"bases":      fill(`<base href="//[::1]/%2e%2e/"><link rel="alternate" type="application/json+oembed" href="?` + "\x00" + `#">`),
		"schemes":    fill(`<meta property="og:image" content="JaVaScRiPt://x/%0aalert(1)"><meta property="og:url" content="http://a@b/"><link rel=image_src href="http:x">`),
		"titles":     fill("<title>x</title>"), "paragraphs": fill("<p>some words"), "breaks": "<p>" + fill("<br>"),
		"opening": fill("<"), "entities": "<title>" + fill("&amp;&#x1;&nosuch"), "comments": fill("<!--"), "cdata": fill("<![CDATA["),
		"numbers": "<title>" + fill("&#99999999999;&#xD800;&#0;"), "doctype": "<!DOCTYPE " + fill("[<!ENTITY a '&a;'>"), "processing": fill("<?xml "),
		"script": "<script>" + fill("x"), "escaped": "<script><!--<script>" + fill("</script"), "plaintext": "<plaintext>" + fill("<title>x"),
		"textarea": "<textarea>" + fill("</textarea <title>"), "nul": "<title>" + fill("\x00"), "broken": "<title>" + fill("\xff\xfe"),
		"wide": "<title>" + fill("\u202e𝔛"), "shifts": `<meta charset="iso-2022-jp"><title>` + fill("\x1b$B\x1b(J"), "utf-7": `<meta charset="utf-7"><title>` + fill("+ADw-"),
		"charsets": fill(`<meta charset="x-user-defined">`), "oembed": `{"title":` + fill(`{"title":`), "numbers in oembed": `{"thumbnail_url":` + fill("9"),
	}
}

// TestHostilePages: they are read like others.
func TestHostilePages(t *testing.T) {
	for name, page := range hostilePages(256 << 10) {
		t.Run(name, func(t *testing.T) { bounded(t, Parse(strings.NewReader(page), "text/html", base)) })
	}
}

func bounded(t *testing.T, p *Page) {
	t.Helper()
	for _, s := range []string{p.Title, p.Description, p.SiteName, p.Type, p.ImageAlt} {
		if len(s) > maxText || !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\n\r") {
			t.Errorf("%d bytes of text: %.50q", len(s), s)
		}
	}
	for _, s := range []string{p.URL, p.Image, p.OEmbed} {
		if u, err := url.Parse(s); s != "" && (err != nil || len(s) > maxURL || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			t.Errorf("address: %q", s)
		}
	}
}

func TestOEmbed(t *testing.T) {
	p := &Page{Title: "kept"}
	p.AddOEmbed([]byte(`{"type":"photo","title":"no","author_name":"A","provider_name":"P","url":"/i.jpg","thumbnail_url":7}`), base)
	if want := (Page{Title: "kept", Description: "A", SiteName: "P", Image: "https://example.org/i.jpg"}); *p != want {
		t.Errorf("%+v", *p)
	}
	for _, broken := range []string{"", "[]", `{"type":{}}`, `{"title":`, fmt.Sprintf(`{"title":%q}`, strings.Repeat("x", 5000))} {
		p.AddOEmbed([]byte(broken), base)
	}
	bounded(t, p)
}

func FuzzParse(f *testing.F) {
	f.Add("text/html", []byte(`<head><title>x</title><meta property="og:image" content="/i"><base href=b><link rel=alternate type=application/json+oembed href=o>`))
	for _, contentType := range []string{"text/html", "text/html; charset=utf-16", "text/html; charset=iso-2022-jp", "text/html; charset=gb18030", "text/html;;=", ""} {
		for _, page := range hostilePages(300) {
			f.Add(contentType, []byte(page))
		}
	}
	f.Add("text/html; charset=utf-16", []byte("\xfe\xff\x00<"))
	f.Fuzz(func(t *testing.T, contentType string, page []byte) {
		p := Parse(strings.NewReader(string(page)), contentType, base)
		p.AddOEmbed(page, base)
		bounded(t, p)
	})
}
