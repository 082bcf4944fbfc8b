package compare

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// HearthName is the Name of Hearth.
const HearthName = "Hearth"

// Hearth returns the server that the given program is. Without a database it
// runs a private cluster: the same one that it is given otherwise.
func Hearth(program, dir string) (*Server, error) {
	program, err := filepath.Abs(program)
	if err != nil {
		return nil, err
	}
	return &Server{
		Name: HearthName, dir: filepath.Join(dir, "hearth"), addr: "127.0.0.1:18008",
		configure: func(ctx context.Context, s *Server, database string) ([]string, error) {
			if err := configureHearth(ctx, program, s, database); err != nil {
				return nil, err
			}
			return []string{program, "serve", "--config", s.file("homeserver.yaml")}, nil
		},
	}, nil
}

func configureHearth(ctx context.Context, program string, s *Server, database string) error {
	args := []string{"generate-config", "--server-name", serverName, "--data-dir", s.dir}
	for _, set := range [][2]string{
		{"database", database},
		{"listen.client", s.addr},
		{"listen.federation", ""},
		{"registration.shared_secret", secret},
		{"passwords.bcrypt_cost", "4"}, // accounts are many and their passwords not measured
		{"rate_limits.enabled", "false"},
		{"media.max_upload_size", "2GiB"},
	} {
		args = append(args, "--set", set[0]+"="+set[1])
	}
	cmd := exec.CommandContext(ctx, program, args...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	config, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("%s generate-config: %w: %s", program, err, complaint.Bytes())
	}
	return os.WriteFile(s.file("homeserver.yaml"), config, 0o600)
}
