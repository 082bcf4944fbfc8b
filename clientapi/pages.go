package clientapi

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"

	"hearth/internal/httpapi"
)

//go:embed pages
var pageFiles embed.FS

var pageLayout = template.Must(template.ParseFS(pageFiles, "pages/layout.html"))

// pageTemplate is a file of pages/ within the layout that all have but the landing page.
func pageTemplate(name string) *template.Template {
	text, err := pageFiles.ReadFile("pages/" + name + ".html")
	if err != nil {
		panic(err) // only for a file that isn't embedded
	}
	page := template.Must(pageLayout.Clone())
	template.Must(page.New("content").Parse(string(text)))
	return page
}

// page answers with an HTML page that may submit forms to formAction. Nothing of it is kept in
// caches; forms tell this server alone where they come from.
func (a *API) page(status int, t *template.Template, data map[string]any, formAction string) (*httpapi.Reply, error) {
	data["ServerName"] = a.serverName
	var text bytes.Buffer
	if err := t.Execute(&text, data); err != nil {
		return nil, err
	}
	header := http.Header{
		"Content-Type":            {"text/html; charset=utf-8"},
		"Content-Security-Policy": {"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action " + formAction + "; frame-ancestors 'none'"},
		"X-Content-Type-Options":  {"nosniff"},
		"Referrer-Policy":         {"same-origin"},
		"Cache-Control":           {"no-store"},
	}
	return &httpapi.Reply{Status: status, Header: header, Write: func(w http.ResponseWriter) error {
		_, err := w.Write(text.Bytes())
		return err
	}}, nil
}

// readForm reads a form that a page of this server has sent. Those of other sites, which browsers
// send with this server's cookies, are refused.
func (a *API) readForm(r *http.Request) (url.Values, error) {
	if err := a.crossOrigin.Check(r); err != nil {
		return nil, httpapi.Forbidden("This form comes from another site")
	}
	if err := r.ParseForm(); err != nil {
		return nil, httpapi.InvalidParam("The form can't be read")
	}
	return r.PostForm, nil
}

// newCrossOrigin lets in forms of this server's own pages alone, under whatever name a proxy
// passes them on.
func newCrossOrigin(publicBaseURL string) *http.CrossOriginProtection {
	c := http.NewCrossOriginProtection()
	if u, err := url.Parse(publicBaseURL); err == nil && u.Host != "" {
		// Fails only for what isn't an origin.
		_ = c.AddTrustedOrigin(u.Scheme + "://" + u.Host)
	}
	return c
}

// formTarget is what a page's policy must allow whose form is answered by leading to a URL:
// browsers apply the policy to that, too.
func formTarget(u *url.URL) string {
	if u.Scheme == "https" || u.Scheme == "http" {
		return "'self' " + u.Scheme + "://" + u.Host
	}
	return "'self' " + u.Scheme + ":"
}
