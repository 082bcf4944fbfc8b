package e2e

import (
	"context"
	"fmt"
	"hearth/internal/testenv"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"hearth/internal/postgres"
)

// binaryDir is where the program is built, once for all tests.
var binaryDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "hearth-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binaryDir = dir
		return m.Run()
	}())
}

var build = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(binaryDir, "hearth")
	out, err := exec.Command("go", "build", "-o", binary, "hearth/cmd/hearth").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return binary, nil
})

// hearthBinary is the path of the program, built from this checkout.
func hearthBinary(t *testing.T) string {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// externalDatabase starts a PostgreSQL that isn't the server's own and returns
// its connection string.
func externalDatabase(t *testing.T) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cluster, err := postgres.Start(ctx, postgres.Options{DataDir: testenv.Dir(t), Throwaway: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	return cluster.ConnString()
}
