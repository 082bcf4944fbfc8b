package postgres

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// owner is the account the cluster's processes run as. PostgreSQL refuses to run
// as root, so root's cluster belongs to the system user postgres.
type owner struct {
	uid, gid int
	// credential is nil when the cluster runs as Hearth itself does.
	credential *syscall.Credential
}

func clusterOwner() (owner, error) {
	if os.Geteuid() != 0 {
		return owner{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return owner{}, errors.New("PostgreSQL doesn't run as root, and there is no system user postgres to run it as: " +
			"add one (on Debian: apt-get install postgresql), or start Hearth as an ordinary user")
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return owner{}, fmt.Errorf("reading the ids of user postgres: %w", err)
	}
	return owner{uid, gid, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// place says where a data directory's cluster and its socket are.
type place struct {
	base    string // holds the cluster, its log and start-up messages
	cluster string
	socket  string // the directory of the socket
}

// locationFile, in the data directory, names the base of a cluster that could not
// live there.
const locationFile = "postgres.location"

// maxSocketDir is what PostgreSQL's socket name leaves of the 107 bytes that the
// kernel allows for a path.
const maxSocketDir = 107 - len("/.s.PGSQL.5432.lock")

// findPlace decides where the cluster lives: in the data directory or, when
// its owner can't get there (root's home is closed to others), under
// /var/lib/hearth, which is recorded in the data directory.
func findPlace(dataDir string, o owner) (place, error) {
	dataDir, err := filepath.Abs(dataDir)
	if err != nil {
		return place{}, fmt.Errorf("finding the data directory: %w", err)
	}
	if err := os.MkdirAll(dataDir, 0o755); err != nil {
		return place{}, fmt.Errorf("making the data directory: %w", err)
	}
	sum := sha256.Sum256([]byte(dataDir))
	name := hex.EncodeToString(sum[:6])
	base := filepath.Join(dataDir, "postgres")
	recorded, err := os.ReadFile(filepath.Join(dataDir, locationFile))
	switch {
	case err == nil:
		base = strings.TrimSpace(string(recorded))
	case !errors.Is(err, fs.ErrNotExist):
		return place{}, fmt.Errorf("finding the database: %w", err)
	case o.credential != nil && !o.canReach(dataDir):
		base = filepath.Join("/var/lib/hearth", name)
		if err := os.WriteFile(filepath.Join(dataDir, locationFile), []byte(base+"\n"), 0o644); err != nil {
			return place{}, fmt.Errorf("recording where the database is: %w", err)
		}
	}
	p := place{base: base, cluster: filepath.Join(base, "cluster"), socket: filepath.Join(base, "socket")}
	if len(p.socket) > maxSocketDir {
		p.socket = filepath.Join(os.TempDir(), fmt.Sprintf("hearth-%d-%s", o.uid, name))
	}
	if err := o.makeDir(p.base); err != nil {
		return p, err
	}
	return p, o.makeDir(p.socket)
}

// canReach reports whether the owner may enter every directory on the way to dir.
func (o owner) canReach(dir string) bool {
	for ; ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		st := info.Sys().(*syscall.Stat_t)
		bit := fs.FileMode(0o001)
		if int(st.Uid) == o.uid {
			bit = 0o100
		} else if int(st.Gid) == o.gid {
			bit = 0o010
		}
		if info.Mode()&bit == 0 {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

// makeDir makes a directory that only the owner may enter, and refuses one that
// somebody else put there first.
func (o owner) makeDir(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fmt.Errorf("making a directory for the database: %w", err)
	}
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = os.Lchown(dir, o.uid, o.gid)
	} else if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	if err != nil {
		return fmt.Errorf("making a directory for the database: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("checking a directory of the database: %w", err)
	}
	if st := info.Sys().(*syscall.Stat_t); !info.IsDir() || int(st.Uid) != o.uid || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s must be a directory that belongs to user id %d and is closed to others (chmod 700)", dir, o.uid)
	}
	return nil
}
