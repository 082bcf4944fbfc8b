package clientapi

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

// FuzzClientRedirect has no address pass that a browser would take for a program, or that says
// more in a page's policy than where it leads; and the token is in it once.
func FuzzClientRedirect(f *testing.F) {
	for _, seed := range []string{"https://app.example.org/?loginToken=x&a=%20#/b", "io.example.app:/back", "element://connect?loginToken", "javascript:alert(1)",
		"https://a;b/", "https://[::1]:8080/;x", "io.example.app:opaque?%6coginToken=1", "https://x/?;&&=&loginToken=%zz"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u := clientRedirect(text)
		if u == nil {
			return
		}
		if slices.Contains(browserSchemes, strings.ToLower(u.Scheme)) || u.User != nil {
			t.Fatalf("%q leads to %v", text, u)
		}
		if target := formTarget(u); strings.ContainsAny(strings.TrimPrefix(target, "'self' "), " ;,'\"\t\r\n") {
			t.Fatalf("%q: the policy is %q", text, target)
		}
		led, err := url.Parse(withLoginToken(*u, "new token"))
		if err != nil {
			t.Fatalf("%q leads to what is none: %v", text, err)
		}
		if led.Scheme != u.Scheme || led.Host != u.Host || led.Path != u.Path || led.Fragment != u.Fragment {
			t.Fatalf("%q leads to %v", text, led)
		}
		// What can't be read is skipped, as by others who read it.
		if query, _ := url.ParseQuery(led.RawQuery); len(query["loginToken"]) != 1 || query.Get("loginToken") != "new token" {
			t.Fatalf("%q: %q", text, led.RawQuery)
		}
	})
}
