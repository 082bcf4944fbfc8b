package e2e

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hearth/internal/testenv"
)

// dendriteConfig lets Dendrite connect to loopback and believe any certificate.
const dendriteConfig = `version: 2
global:
  server_name: %s
  private_key: matrix_key.pem
  database: {connection_string: %q, max_open_conns: 20, max_idle_conns: 20, conn_max_lifetime: -1}
  jetstream: {storage_path: ./jetstream, topic_prefix: Dendrite}
  presence: {enable_inbound: true, enable_outbound: true}
client_api: {registration_disabled: true, registration_shared_secret: interop, rate_limiting: {enabled: false}}
federation_api: {disable_tls_validation: true, prefer_direct_fetch: true, deny_networks: ["198.51.100.0/24"], allow_networks: ["0.0.0.0/0"]}
media_api: {base_path: ./media}
user_api: {bcrypt_cost: 4}
logging: [{type: std, level: warn}]
`

// dendrite starts the programs in the folder that HEARTH_DENDRITE names.
func dendrite(t *testing.T) *peer {
	bin := os.Getenv("HEARTH_DENDRITE")
	if bin == "" {
		t.Skip("HEARTH_DENDRITE doesn't name a folder with Dendrite's programs; see make interop")
	}
	dir, client, name := testenv.Dir(t), freeAddress(t), freeAddress(t)
	if out, err := exec.Command(filepath.Join(bin, "generate-keys"), "--private-key", filepath.Join(dir, "matrix_key.pem"),
		"--tls-cert", filepath.Join(dir, "server.crt"), "--tls-key", filepath.Join(dir, "server.key")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	config := fmt.Sprintf(dendriteConfig, name, dendriteDatabase(testenv.EmptyDatabase(t)))
	if err := os.WriteFile(filepath.Join(dir, "dendrite.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return startPeer(t, client, name, dir, filepath.Join(bin, "dendrite"), "--config", "dendrite.yaml", "--http-bind-address", client,
		"--https-bind-address", name, "--tls-cert", "server.crt", "--tls-key", "server.key")
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
