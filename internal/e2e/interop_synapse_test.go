package e2e

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"hearth/internal/certificate"
	"hearth/internal/testenv"
)

// synapseConfig lets Synapse connect to loopback and believe any certificate.
const synapseConfig = `server_name: %q
pid_file: %[2]s/pid
listeners:
  - {port: %[3]s, bind_addresses: ["127.0.0.1"], type: http, tls: false, resources: [{names: [client]}]}
  - {port: %[4]s, bind_addresses: ["127.0.0.1"], type: http, tls: true, resources: [{names: [federation]}]}
tls_certificate_path: %[2]s/federation.crt
tls_private_key_path: %[2]s/federation.key
database: {name: sqlite3, args: {database: %[2]s/synapse.db}}
log_config: %[2]s/log.yaml
media_store_path: %[2]s/media
signing_key_path: %[2]s/signing.key
registration_shared_secret: interop
macaroon_secret_key: interop
form_secret: interop
report_stats: false
trusted_key_servers: []
federation_verify_certificates: false
ip_range_blacklist: []
ip_range_whitelist: ["127.0.0.0/8"]
suppress_key_server_warning: true
caches: {sync_response_cache_duration: 0s}
room_list_publication_rules: [{action: allow}]
url_preview_enabled: false
allow_public_rooms_over_federation: true
federation: {max_short_retry_delay: 1s, destination_min_retry_interval: 1s, destination_max_retry_interval: 10s}
rc_message: {per_second: 1000, burst_count: 1000}
rc_login: {address: {per_second: 1000, burst_count: 1000}, account: {per_second: 1000, burst_count: 1000}}
rc_joins: {local: {per_second: 1000, burst_count: 1000}, remote: {per_second: 1000, burst_count: 1000}}
rc_federation: {window_size: 1000, sleep_limit: 1000, sleep_delay: 1, reject_limit: 10000, concurrent: 100}
rc_room_creation: {per_second: 1000, burst_count: 1000}
rc_profile: {per_second: 1000, burst_count: 1000}
rc_presence: {per_user: {per_second: 1000, burst_count: 1000}}
rc_joins_per_room: {per_second: 1000, burst_count: 1000}
rc_invites: {per_room: {per_second: 1000, burst_count: 1000}, per_user: {per_second: 1000, burst_count: 1000}, per_issuer: {per_second: 1000, burst_count: 1000}}
`

const synapseLog = `version: 1
formatters: {plain: {format: "%(asctime)s %(name)s %(levelname)s %(message)s"}}
handlers: {console: {class: logging.StreamHandler, formatter: plain}}
root: {level: WARNING, handlers: [console]}
`

// synapse starts the Synapse in the virtual environment that HEARTH_SYNAPSE names.
func synapse(t *testing.T) *peer {
	env := os.Getenv("HEARTH_SYNAPSE")
	if env == "" {
		t.Skip("HEARTH_SYNAPSE doesn't name a virtual environment with Synapse; see make interop")
	}
	dir, client, name := testenv.Dir(t), freeAddress(t), freeAddress(t)
	if _, err := certificate.SelfSigned(dir, "127.0.0.1", slog.Default()); err != nil {
		t.Fatal(err)
	}
	for suffix, as := range map[string]string{"*.crt": "federation.crt", "*.key": "federation.key"} {
		found, err := filepath.Glob(filepath.Join(dir, suffix))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		if err := os.Rename(found[0], filepath.Join(dir, as)); err != nil {
			t.Fatal(err)
		}
	}
	_, clientPort, _ := net.SplitHostPort(client) // freeAddress has a port
	_, port, _ := net.SplitHostPort(name)
	config := filepath.Join(dir, "homeserver.yaml")
	for file, text := range map[string]string{config: fmt.Sprintf(synapseConfig, name, dir, clientPort, port), filepath.Join(dir, "log.yaml"): synapseLog} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	python, program := filepath.Join(env, "bin", "python"), []string{"-m", "synapse.app.homeserver", "-c", config}
	if out, err := exec.Command(python, append(program, "--generate-keys")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return startPeer(t, client, name, dir, append([]string{python}, program...)...)
}
