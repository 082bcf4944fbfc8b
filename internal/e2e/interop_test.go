package e2e

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"hearth/internal/testenv"
)

// dendriteConfig lets Dendrite connect to loopback and believe any certificate.
const dendriteConfig = `version: 2
global:
  server_name: %s
  private_key: matrix_key.pem
  database: {connection_string: %q, max_open_conns: 20, max_idle_conns: 20, conn_max_lifetime: -1}
  jetstream: {storage_path: ./jetstream, topic_prefix: Dendrite}
client_api: {registration_disabled: true, registration_shared_secret: interop, rate_limiting: {enabled: false}}
federation_api: {disable_tls_validation: true, prefer_direct_fetch: true, deny_networks: ["198.51.100.0/24"], allow_networks: ["0.0.0.0/0"]}
media_api: {base_path: ./media}
user_api: {bcrypt_cost: 4}
logging: [{type: std, level: warn}]
`

// dendrite starts the programs in the folder that HEARTH_DENDRITE names, and returns
// where its clients' API is and its name.
func dendrite(t *testing.T) (base, name string) {
	bin := os.Getenv("HEARTH_DENDRITE")
	if bin == "" {
		t.Skip("HEARTH_DENDRITE doesn't name a folder with Dendrite's programs; see make interop")
	}
	dir := testenv.Dir(t)
	name = freeAddress(t)
	client := freeAddress(t)
	if out, err := exec.Command(filepath.Join(bin, "generate-keys"), "--private-key", filepath.Join(dir, "matrix_key.pem"),
		"--tls-cert", filepath.Join(dir, "server.crt"), "--tls-key", filepath.Join(dir, "server.key")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	config := fmt.Sprintf(dendriteConfig, name, dendriteDatabase(testenv.EmptyDatabase(t)))
	if err := os.WriteFile(filepath.Join(dir, "dendrite.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(bin, "dendrite"), "--config", "dendrite.yaml", "--http-bind-address", client,
		"--https-bind-address", name, "--tls-cert", "server.crt", "--tls-key", "server.key")
	cmd.Dir = dir
	var output strings.Builder // read once the program has ended
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		if t.Failed() {
			t.Log(output.String())
		}
	})
	base = "http://" + client
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		res, err := httpClient.Get(base + "/_matrix/client/versions")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return base, name
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("Dendrite doesn't start: %v", err)
		}
	}
}

// dendriteDatabase is a URL for a connection string of key=value pairs.
func dendriteDatabase(dsn string) string {
	values := url.Values{"sslmode": {"disable"}}
	user, database := "", ""
	for _, pair := range strings.Fields(dsn) {
		key, value, _ := strings.Cut(pair, "=")
		value = strings.Trim(value, "'")
		switch key {
		case "user":
			user = value
		case "dbname":
			database = value
		default:
			values.Set(key, value)
		}
	}
	return "postgresql://" + user + "@/" + database + "?" + values.Encode()
}

// dendriteUser makes an account by the shared secret.
func dendriteUser(t *testing.T, base, name string) *user {
	anybody := &user{base: base}
	const path = "/_synapse/admin/v1/register"
	nonce := anybody.ok(t, "GET", path, nil).Get("nonce").Str
	mac := hmac.New(sha1.New, []byte("interop"))
	mac.Write([]byte(strings.Join([]string{nonce, name, password, "notadmin"}, "\x00")))
	r := anybody.ok(t, "POST", path, map[string]any{"nonce": nonce, "username": name, "password": password, "admin": false,
		"mac": hex.EncodeToString(mac.Sum(nil))})
	return &user{base: base, id: r.Get("user_id").Str, device: r.Get("device_id").Str, token: r.Get("access_token").Str}
}

// TestInteropDendrite has people of Hearth and of Dendrite share rooms that either
// made: public ones by their alias, private ones by invitation.
func TestInteropDendrite(t *testing.T) {
	base, name := dendrite(t)
	s, own := federating(t)
	alice, bob := register(t, s.base, "alice"), dendriteUser(t, base, "bob")
	for _, version := range []string{"6", "10", "11", "12"} {
		t.Run(version, func(t *testing.T) {
			share(t, version, alice, bob, own)
			share(t, version, bob, alice, name)
		})
	}
}

// share has the guest join the host's rooms and both speak.
func share(t *testing.T, version string, host, guest *user, server string) {
	t.Helper()
	say := func(u *user, room, body string) {
		u.ok(t, "PUT", clientV3+"/rooms/"+url.PathEscape(room)+"/send/m.room.message/"+body, map[string]any{"msgtype": "m.text", "body": body})
	}
	public := host.ok(t, "POST", clientV3+"/createRoom", map[string]any{"preset": "public_chat", "room_alias_name": "lobby" + version, "room_version": version}).Get("room_id").Str
	guest.ok(t, "POST", clientV3+"/join/"+url.PathEscape("#lobby"+version+":"+server), map[string]any{})
	say(host, public, "hello")
	guest.hear(t, public, "hello")
	say(guest, public, "hi")
	host.hear(t, public, "hi")
	private := host.ok(t, "POST", clientV3+"/createRoom", map[string]any{"preset": "private_chat", "room_version": version, "invite": []string{guest.id}}).Get("room_id").Str
	guest.ok(t, "POST", clientV3+"/rooms/"+url.PathEscape(private)+"/join", map[string]any{})
	say(guest, private, "thanks")
	host.hear(t, private, "thanks")
	guest.ok(t, "POST", clientV3+"/rooms/"+url.PathEscape(private)+"/leave", map[string]any{})
}
