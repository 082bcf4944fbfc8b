package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// DendriteVersion is the version that Hearth is compared with.
const DendriteVersion = "v0.15.2"

const dendriteModule = "github.com/element-hq/dendrite"

// Dendrite returns Dendrite, which it builds into dir unless it is there.
func Dendrite(ctx context.Context, dir string, log func(string, ...any)) (*Server, error) {
	bin := filepath.Join(dir, "dendrite-"+DendriteVersion)
	if err := buildDendrite(ctx, bin, log); err != nil {
		return nil, fmt.Errorf("build Dendrite %s: %w", DendriteVersion, err)
	}
	return &Server{
		Name: "Dendrite", dir: filepath.Join(dir, "dendrite"), addr: "127.0.0.1:18108",
		configure: func(ctx context.Context, s *Server, database string) ([]string, error) {
			key := s.file("matrix_key.pem")
			if _, err := os.Stat(key); err != nil {
				if err := command(ctx, "", filepath.Join(bin, "generate-keys"), "--private-key", key); err != nil {
					return nil, err
				}
			}
			config := fmt.Sprintf(dendriteConfig, serverName, strconv.Quote(database), connections, connections, secret)
			return []string{filepath.Join(bin, "dendrite"), "--config", s.file("dendrite.yaml"), "--http-bind-address", s.addr},
				os.WriteFile(s.file("dendrite.yaml"), []byte(config), 0o600)
		},
	}, nil
}

// buildDendrite builds in the module's own folder of the module cache, with the
// versions of its dependencies that it was released with.
func buildDendrite(ctx context.Context, bin string, log func(string, ...any)) error {
	if _, err := os.Stat(filepath.Join(bin, "dendrite")); err == nil {
		return nil
	}
	log("building Dendrite %s, once, into %s", DendriteVersion, bin)
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", dendriteModule+"@"+DendriteVersion).Output()
	var module struct{ Dir, Error string }
	if parse := json.Unmarshal(out, &module); parse != nil || module.Error != "" {
		return fmt.Errorf("go mod download: %w %s", err, module.Error)
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return err
	}
	return command(ctx, module.Dir, "go", "build", "-trimpath", "-o", bin+string(filepath.Separator), "./cmd/generate-keys", "./cmd/dendrite")
}

func command(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// dendriteConfig is Dendrite's sample configuration where it matters: one
// database whose connections are kept instead of made anew, no federation, no
// rate limits, default caches. Its presence is off by default.
const dendriteConfig = `version: 2
global:
  server_name: %s
  private_key: matrix_key.pem
  database:
    connection_string: %s
    max_open_conns: %d
    max_idle_conns: %d
    conn_max_lifetime: -1
  disable_federation: true
  presence: {enable_inbound: false, enable_outbound: false}
  jetstream: {storage_path: ./jetstream, topic_prefix: Dendrite}
client_api:
  registration_disabled: true
  registration_shared_secret: %s
  rate_limiting: {enabled: false}
media_api:
  base_path: ./media
  max_file_size_bytes: 2147483648
  dynamic_thumbnails: true
  thumbnail_sizes:
  - {width: 32, height: 32, method: crop}
  - {width: 96, height: 96, method: crop}
  - {width: 320, height: 240, method: scale}
  - {width: 640, height: 480, method: scale}
  - {width: 800, height: 600, method: scale}
user_api: {bcrypt_cost: 4}
logging:
  - {type: std, level: warn}
`
