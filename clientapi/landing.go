package clientapi

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"

	"hearth/internal/httpapi"
)

//go:embed landing.html
var landingText string

var landingTemplate = template.Must(template.New("landing").Parse(landingText))

// landingHeader lets the page use nothing but its own style sheet.
var landingHeader = http.Header{
	"Content-Type":            {"text/html; charset=utf-8"},
	"Content-Security-Policy": {"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
	"X-Content-Type-Options":  {"nosniff"},
	"Referrer-Policy":         {"no-referrer"},
	"Cache-Control":           {"no-cache"},
}

func (a *API) landingRoutes() []httpapi.Route {
	return []httpapi.Route{{Method: "GET", Path: "/", Auth: httpapi.AuthNone, Handle: a.getLanding}}
}

// getLanding answers GET /: a page for people who follow the server's address
// with a browser.
func (a *API) getLanding(r *http.Request, _ *httpapi.Requester) (any, error) {
	base := a.o.PublicBaseURL
	if base == "" {
		base = "http://" + r.Host
	}
	var page bytes.Buffer
	err := landingTemplate.Execute(&page, map[string]any{
		"ServerName": a.serverName, "Version": a.o.Version, "Registration": a.o.RegistrationEnabled, "BaseURL": base,
	})
	if err != nil {
		return nil, err
	}
	return &httpapi.Reply{Status: http.StatusOK, Header: landingHeader, Write: func(w http.ResponseWriter) error {
		_, err := w.Write(page.Bytes())
		return err
	}}, nil
}
