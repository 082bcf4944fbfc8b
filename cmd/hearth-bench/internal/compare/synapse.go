package compare

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Synapse returns a server whose program, synapse_homeserver, is installed already.
func Synapse(program, dir string) (*Server, error) {
	program, err := filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	return &Server{
		Name: "Synapse", dir: filepath.Join(dir, "synapse"), addr: "127.0.0.1:18208",
		configure: func(ctx context.Context, s *Server, database string) ([]string, error) {
			file := s.file("homeserver.yaml")
			config := fmt.Sprintf(synapseConfig, serverName, strconv.Quote(database), connections, connections, secret)
			if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
				return nil, err
			}
			if err := os.WriteFile(s.file("log.yaml"), []byte(synapseLog), 0o600); err != nil {
				return nil, err
			}
			if err := command(ctx, s.dir, program, "-c", file, "--generate-keys"); err != nil {
				return nil, err
			}
			return []string{program, "-c", file}, nil
		},
	}, nil
}

// synapseConfig has no rate limits and logs warnings only, as the others.
const synapseConfig = `server_name: %s
report_stats: false
signing_key_path: signing.key
media_store_path: media
trusted_key_servers: []
database:
  name: psycopg2
  args: {dsn: %s, cp_min: %d, cp_max: %d}
  allow_unsafe_locale: true
registration_shared_secret: %s
bcrypt_rounds: 4
presence: {enabled: false}
max_upload_size: 2G
log_config: log.yaml
listeners:
- {port: 18208, bind_addresses: [127.0.0.1], type: http, resources: [{names: [client]}]}
rc_message: {per_second: 1000000, burst_count: 1000000}
rc_registration: {per_second: 1000000, burst_count: 1000000}
rc_media_create: {per_second: 1000000, burst_count: 1000000}
rc_login:
  address: {per_second: 1000000, burst_count: 1000000}
  account: {per_second: 1000000, burst_count: 1000000}
rc_joins:
  local: {per_second: 1000000, burst_count: 1000000}
rc_joins_per_room: {per_second: 1000000, burst_count: 1000000}
rc_room_creation: {per_second: 1000000, burst_count: 1000000}
`

const synapseLog = `version: 1
handlers: {console: {class: logging.StreamHandler}}
root: {level: WARNING, handlers: [console]}
disable_existing_loggers: false
`
