package postgres

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
)

// oldestMajor is the oldest PostgreSQL that Hearth takes.
const oldestMajor = 13

// binaries are the server programs of one PostgreSQL version.
type binaries struct {
	dir   string
	major int
}

func (b binaries) path(name string) string { return filepath.Join(b.dir, name) }

// binaryDirs are the folders where distributions put the server programs, beside
// that of the first postgres in PATH.
var binaryDirs = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/usr/lib/postgresql/bin"}

// findBinaries returns the newest installed PostgreSQL or, for an existing
// cluster, the one of its major version.
func findBinaries(clusterDir string) (binaries, error) {
	all := installed()
	wanted, exists := clusterMajor(clusterDir)
	for _, b := range all {
		if !exists || b.major == wanted {
			return b, nil
		}
	}
	if exists {
		return binaries{}, fmt.Errorf("the database in %s was made by PostgreSQL %d, whose server programs aren't installed: "+
			"install them (on Debian: apt-get install postgresql-%d), or upgrade the database with pg_upgrade", clusterDir, wanted, wanted)
	}
	return binaries{}, fmt.Errorf("no PostgreSQL server programs (initdb, postgres) of version %d or newer were found: "+
		"install them (on Debian: apt-get install postgresql), or set database: in the configuration to a server that runs elsewhere", oldestMajor)
}

// installed lists what is installed, the newest first.
func installed() []binaries {
	var dirs []string
	if p, err := exec.LookPath("postgres"); err == nil {
		if real, err := filepath.EvalSymlinks(p); err == nil {
			dirs = append(dirs, filepath.Dir(real))
		}
	}
	for _, pattern := range binaryDirs {
		found, _ := filepath.Glob(pattern) // the patterns are well-formed
		dirs = append(dirs, found...)
	}
	var all []binaries
	for _, dir := range dirs {
		if major, err := majorOf(dir); err == nil && major >= oldestMajor {
			all = append(all, binaries{dir, major})
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].major > all[j].major })
	return all
}

// majorOf asks the postgres program in dir for its major version.
func majorOf(dir string) (int, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return 0, err
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return 0, fmt.Errorf("asking PostgreSQL in %s for its version: %w", dir, err)
	}
	fields := strings.Fields(string(out)) // postgres (PostgreSQL) 15.18 (Debian …)
	if len(fields) < 3 {
		return 0, fmt.Errorf("PostgreSQL in %s calls itself %q", dir, out)
	}
	number, _, _ := strings.Cut(fields[2], ".")
	return strconv.Atoi(strings.TrimRightFunc(number, func(r rune) bool { return r < '0' || r > '9' }))
}

// clusterMajor returns the major version of an existing cluster.
func clusterMajor(dir string) (int, bool) {
	text, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if err != nil {
		return 0, false
	}
	major, err := strconv.Atoi(strings.TrimSpace(string(text)))
	return major, err == nil
}
