package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestProviders reads a list of groups, each with its defaults, and finds what is wrong in it.
func TestProviders(t *testing.T) {
	path := write(t, `server_name: example.org
public_base_url: https://matrix.example.org
sso:
  providers:
    - id: one
      issuer: https://sso.example.org
      client_id: hearth
      client_secret_file: secret
    - # the second
      id: two
      name: Two
      issuer: https://two.example.org/realm
      client_id: x
      client_secret: y
      scopes: []
      localpart: "{{mailbox .email}}"
      register: false
`)
	c, err := Load(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(filepath.Dir(path), "secret")
	if err := os.WriteFile(secret, []byte("between us\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want := []SSOProvider{
		{ID: "one", Issuer: "https://sso.example.org", ClientID: "hearth", ClientSecretFile: secret, Scopes: List{"profile", "email"},
			Localpart: "{{.preferred_username}}", DisplayName: "{{.name}}", Register: true},
		{ID: "two", Name: "Two", Issuer: "https://two.example.org/realm", ClientID: "x", ClientSecret: "y",
			Localpart: "{{mailbox .email}}", DisplayName: "{{.name}}"},
	}
	if !reflect.DeepEqual(c.SSO.Providers, want) {
		t.Errorf("%+v, want %+v", c.SSO.Providers, want)
	}
	if got, err := c.SSO.Providers[0].Secret(); got != "between us" {
		t.Errorf("%q %v", got, err)
	}
	const begin = "server_name: a\npublic_base_url: https://a\nsso:\n  providers:\n"
	for text, want := range map[string]string{
		begin + "    - {id: a b, issuer: 'https://x', client_id: x}\n":                                                         ":5: sso.providers[0].id",
		begin + "    - {id: a, issuer: x, client_id: x}\n":                                                                     ":5: sso.providers[0].issuer: \"x\" is no URL",
		begin + "    - {id: a, isuer: 'https://x'}\n":                                                                          "did you mean sso.providers[0].issuer?",
		begin + "    - id: a\n      issuer: https://x\n      client_id: x\n    - {id: a, issuer: 'https://x', client_id: x}\n": "there are two providers",
		"server_name: a\nsso: {providers: 5}\n":                                                                                "must be a list of groups",
		"server_name: a\nsso: {providers: [5]}\n":                                                                              "sso.providers[0]: must be a group of keys",
		"server_name: a\nsso: {providers: [{id: a, issuer: 'https://x', client_id: x}]}\n":                                     "public_base_url: must be set",
	} {
		if _, err := Load(write(t, text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: no %q in %v", text, want, err)
		}
	}
}

// TestExample has the example of a list in the sample be one: uncommented, it is read.
func TestExample(t *testing.T) {
	sample, err := Generate("example.org", "", []string{"public_base_url=https://a"})
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(sample, "\n  providers: []\n")
	if !ok {
		t.Fatalf("no list in:\n%s", sample)
	}
	text := "server_name: a\npublic_base_url: https://a\nsso:\n  providers:\n"
	for line := range strings.Lines(rest) {
		example, ok := strings.CutPrefix(line, "  # ")
		if !ok {
			break
		}
		text += "    " + strings.NewReplacer(`issuer: ""`, "issuer: https://x", `client_id: ""`, "client_id: x", ` id: ""`, " id: x").Replace(example)
	}
	c, err := Load(write(t, text), nil)
	if err != nil || len(c.SSO.Providers) != 1 || !c.SSO.Providers[0].Register {
		t.Errorf("%v of:\n%s", err, text)
	}
}
