package config

import (
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write homeserver.yaml and docs/configuration.md anew")

// TestGenerated keeps the sample and the documentation equal to the types.
func TestGenerated(t *testing.T) {
	sample, err := Generate("example.org", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"../../homeserver.yaml": sample, "../../docs/configuration.md": Markdown()} {
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s isn't what the types say (%v); run: go test ./internal/config -update", path, err)
		}
	}
	c, err := Load(write(t, sample), nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Default("example.org")
	want.DataDir = c.DataDir // made absolute
	if !reflect.DeepEqual(c, want) {
		t.Errorf("the sample reads as %+v, want the defaults %+v", c, want)
	}
}

func write(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "homeserver.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRefusals finds every problem of a file, with its line and the nearest key.
func TestRefusals(t *testing.T) {
	path := write(t, `server_name: example.org
listen:
  clinet: 127.0.0.1:1
  metrics: 127.0.0.1:1
  metrics: 127.0.0.1:2
registration:
  enabled: maybe
media: {max_upload_size: 5 pounds}
rate_limit:
  enabled: false
`)
	_, err := Load(path, []string{"HEARTH_LISTEN_CLINT=x:1", "HEARTH_HOME_OF_OTHERS=1", "HEARTH_PASSWORDS_BCRYPT_COST=ten"})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{
		":3: listen.clinet: there is no such key; did you mean listen.client?",
		":5: listen.metrics: is there twice, first on line 4",
		`:7: registration.enabled: "maybe" is neither true nor false`,
		`:8: media.max_upload_size: "5 pounds" is no size`,
		":9: rate_limit: there is no such key; did you mean rate_limits?",
		"HEARTH_LISTEN_CLINT: there is no such key; did you mean HEARTH_LISTEN_CLIENT?",
		`HEARTH_PASSWORDS_BCRYPT_COST: "ten" is no whole number`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "HOME_OF_OTHERS") {
		t.Errorf("somebody else's variable was refused: %v", err)
	}
	for text, want := range map[string]string{
		"":                                      "server_name: must be set",
		"server_name: exa mple":                 ":1: server_name",
		"server_name: a\nlisten: {client: 99}":  ":2: listen.client",
		"server_name: a\ndata_dir: [":           "not YAML",
		"server_name: a\nlisten: 8008":          ":2: listen: must be a group of keys",
		"server_name: a\nlogging: {level: all}": ":2: logging.level",
	} {
		if _, err := Load(write(t, text), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: no %q in %v", text, want, err)
		}
	}
}

func TestOverrides(t *testing.T) {
	path := write(t, "server_name: example.org\nlisten:\n  client: 127.0.0.1:1\n")
	c, err := Load(path, []string{"HEARTH_LISTEN_CLIENT=127.0.0.1:2", "HEARTH_REGISTRATION_ENABLED=true", "HEARTH_MEDIA_MAX_UPLOAD_SIZE=1GiB"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen.Client != "127.0.0.1:2" || !c.Registration.Enabled || c.Media.MaxUploadSize != 1<<30 || c.DataDir != filepath.Join(filepath.Dir(path), "data") {
		t.Errorf("%+v", c)
	}
	text, err := Generate("example.org", "/d", []string{"listen.client=127.0.0.1:9", "rate_limits.enabled=false"})
	if err != nil || !strings.Contains(text, "\n  client: 127.0.0.1:9\n") {
		t.Errorf("%v\n%s", err, text)
	}
	if _, err := Generate("example.org", "", []string{"listen.cleint=x"}); err == nil || !strings.Contains(err.Error(), "listen.client") {
		t.Errorf("%v", err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("server_name: a\nlisten: {client: 1}\n? [a]\n: b\n")
	f.Fuzz(func(t *testing.T, text string) {
		Load(write(t, text), []string{"HEARTH_SERVER_NAME=x"})
	})
}
