package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
)

// setProvider has a server's configuration name a provider, which is written as YAML.
func (s *server) setProvider(yaml string) {
	s.t.Helper()
	config, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	text := strings.Replace(string(config), "\n  providers: []\n", "\n  providers: ["+yaml+"]\n", 1)
	if err := os.WriteFile(s.config, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// TestProviderOfConfiguration has the program lead people to the provider that its configuration
// names, from a client to there.
func TestProviderOfConfiguration(t *testing.T) {
	s := newServer(t)
	var provider *httptest.Server
	provider = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/.well-known/openid-configuration" {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"issuer":%q,"authorization_endpoint":"%s/door","token_endpoint":"%[1]s/token","jwks_uri":"%[1]s/keys"}`, provider.URL, provider.URL)
		}
	}))
	defer provider.Close()
	s.setProvider("{id: work, name: Work, issuer: '" + provider.URL + "', client_id: hearth}")
	t.Setenv("HEARTH_PUBLIC_BASE_URL", s.base)
	s.start()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	const app = "https://app.example.org/?x=1"
	res, err := browser.Get(s.base + "/_matrix/client/v3/login/sso/redirect?redirectUrl=" + url.QueryEscape(app))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	at := res.Request.URL
	q := at.Query()
	if at.Scheme+"://"+at.Host+at.Path != provider.URL+"/door" || q.Get("client_id") != "hearth" || q.Get("redirect_uri") != s.base+"/_hearth/sso/callback" ||
		q.Get("scope") != "openid profile email" || q.Get("code_challenge_method") != "S256" {
		t.Errorf("led to %s", at)
	}
	res, err = browser.Get(s.base + "/_matrix/client/v3/login")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	flows, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(flows), `"identity_providers":[{"id":"work","name":"Work"}]`) {
		t.Errorf("flows: %s", flows)
	}
}
