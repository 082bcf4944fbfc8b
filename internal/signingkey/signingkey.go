// Package signingkey keeps the key with which the server signs its events.
package signingkey

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// FileName is the key's file in the data directory.
const FileName = "signing.key"

// Key is an Ed25519 key with its id.
type Key struct {
	ID      string // such as "ed25519:a1B2c3"
	Private ed25519.PrivateKey
}

// Load reads the key in dataDir, or makes one when there is none. The file holds
// one line: the algorithm, the version and the seed in unpadded base64, as other
// homeservers write it.
func Load(dataDir string) (Key, error) {
	path := filepath.Join(dataDir, FileName)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return create(path)
	}
	if err != nil {
		return Key{}, fmt.Errorf("reading the signing key: %w", err)
	}
	fields := strings.Fields(string(text))
	if len(fields) != 3 || fields[0] != "ed25519" {
		return Key{}, fmt.Errorf("the signing key in %s isn't one line of: ed25519 VERSION SEED", path)
	}
	seed, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(fields[2], "="))
	if err != nil || len(seed) != ed25519.SeedSize {
		return Key{}, fmt.Errorf("the signing key in %s has no seed of %d bytes in base64", path, ed25519.SeedSize)
	}
	return Key{ID: "ed25519:" + fields[1], Private: ed25519.NewKeyFromSeed(seed)}, nil
}

// Rotate puts a new key in the place of the one in dataDir, which is kept in the file beside it that it
// returns. Whoever has loaded the old one goes on with that.
func Rotate(dataDir string) (old, key Key, kept string, err error) {
	path := filepath.Join(dataDir, FileName)
	if _, err := os.Stat(path); err != nil {
		return old, key, "", fmt.Errorf("looking for the signing key: %w", err)
	}
	if old, err = Load(dataDir); err != nil {
		return old, key, "", err
	}
	next := path + ".new"
	if err := os.Remove(next); err != nil && !errors.Is(err, fs.ErrNotExist) { // of a rotation that was broken off
		return old, key, "", fmt.Errorf("removing an unused signing key: %w", err)
	}
	if key, err = create(next); err != nil {
		return old, key, "", err
	}
	kept = path + "." + strings.TrimPrefix(old.ID, "ed25519:")
	if err := os.Link(path, kept); err != nil && !errors.Is(err, fs.ErrExist) {
		return old, key, "", fmt.Errorf("keeping the old signing key: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return old, key, "", fmt.Errorf("replacing the signing key: %w", err)
	}
	return old, key, kept, nil
}

// create writes a new key, durably before it is first used: a server that lost
// its key could not prove to others who it is.
func create(path string) (Key, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("making a signing key: %w", err)
	}
	version := "a_" + rand.Text()[:6]
	line := fmt.Sprintf("ed25519 %s %s\n", version, base64.RawStdEncoding.EncodeToString(private.Seed()))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Key{}, fmt.Errorf("writing the signing key: %w", err)
	}
	_, err = f.WriteString(line)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return Key{}, fmt.Errorf("writing the signing key: %w", err)
	}
	return Key{ID: "ed25519:" + version, Private: private}, nil
}
