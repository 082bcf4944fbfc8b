package clientapi

import "testing"

// TestTrustedClient: a trusted client is one below its address as browsers read it, who take back steps
// however these are written.
func TestTrustedClient(t *testing.T) {
	a := &API{o: Options{ClientURLs: []string{"https://app.test.local/client/", "https://whole.test.local"}}}
	for link, trusted := range map[string]bool{
		"https://app.test.local/client":                  true,
		"https://app.test.local/client/welcome?a=..#/x":  true,
		"HTTPS://APP.test.local/client/":                 true,
		"https://whole.test.local":                       true,
		"https://whole.test.local/a":                     true,
		"https://app.test.local/clients":                 false,
		"https://app.test.local/client/../evil":          false,
		"https://app.test.local/client/%2e%2e/evil":      false,
		"https://app.test.local/client/.%2E/evil":        false,
		`https://app.test.local/client/..\evil`:          false,
		"http://app.test.local/client/":                  false,
		"https://app.test.local:444/client/":             false,
		"https://app.test.local.evil/client/":            false,
		"https://app.test.local@evil.test/client/":       false,
		`https://whole.test.local\@evil.test/`:           false,
		"//app.test.local/client/":                       false,
		"javascript://app.test.local/client/%0aalert(1)": false,
		"https:app.test.local/client/":                   false,
		"https://app.test.local/%63lient/":               false,
	} {
		if got := a.trustedClient(link); got != trusted {
			t.Errorf("%s: %v", link, got)
		}
	}
}
