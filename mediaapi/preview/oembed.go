package preview

import (
	"encoding/json"
	"net/url"
)

// AddOEmbed fills what the page doesn't say with what its oEmbed document does, which
// was found at base. A document that can't be read adds nothing.
//
// https://oembed.com/
func (p *Page) AddOEmbed(document []byte, base *url.URL) {
	var d struct {
		Title        any    `json:"title"`
		AuthorName   any    `json:"author_name"`
		ProviderName any    `json:"provider_name"`
		ThumbnailURL any    `json:"thumbnail_url"`
		URL          any    `json:"url"`
		Type         string `json:"type"`
	}
	if json.Unmarshal(document, &d) != nil {
		return
	}
	text := func(v any) string {
		s, _ := v.(string)
		return s
	}
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	fill(&p.Title, clean(text(d.Title), maxText))
	fill(&p.Description, clean(text(d.AuthorName), maxText))
	fill(&p.SiteName, clean(text(d.ProviderName), maxText))
	fill(&p.Image, Absolute(base, text(d.ThumbnailURL)))
	if d.Type == "photo" {
		fill(&p.Image, Absolute(base, text(d.URL)))
	}
}
