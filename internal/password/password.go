// Package password hashes and checks the passwords of accounts. Both cost much
// processor time on purpose, so only a few run at once and a storm of logins
// waits rather than slowing everything else down.
package password

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"

	"golang.org/x/crypto/bcrypt"
)

// DefaultCost is the bcrypt cost that New takes for 0: some 50 ms of one core.
const DefaultCost = 10

// MaxLength bounds a password, in bytes.
const MaxLength = 512

// maxWaiting bounds how many callers wait for their turn.
const maxWaiting = 256

var (
	// ErrBusy is returned when too many are waiting already.
	ErrBusy = errors.New("too many passwords are being checked")
	// ErrEmpty and ErrTooLong refuse a new password.
	ErrEmpty   = errors.New("the password is empty")
	ErrTooLong = fmt.Errorf("the password is longer than %d bytes", MaxLength)
)

// Hasher hashes and checks passwords. It is safe for concurrent use.
type Hasher struct {
	cost    int
	slots   chan struct{}
	waiting atomic.Int32
	// decoy is the hash of a password that nobody knows.
	decoy []byte
}

// New returns a Hasher of the given bcrypt cost (0 is DefaultCost) that uses at
// most half of the processors.
func New(cost int) (*Hasher, error) {
	if cost == 0 {
		cost = DefaultCost
	}
	decoy, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), cost)
	if err != nil {
		return nil, fmt.Errorf("preparing password hashing: %w", err)
	}
	return &Hasher{cost: cost, slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2)), decoy: decoy}, nil
}

// Check refuses a password that Hash would refuse.
func Check(password string) error {
	switch {
	case password == "":
		return ErrEmpty
	case len(password) > MaxLength:
		return ErrTooLong
	}
	return nil
}

// Hash returns what to store for a new password.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	if err := Check(password); err != nil {
		return "", err
	}
	if err := h.acquire(ctx); err != nil {
		return "", err
	}
	defer h.release()
	hash, err := bcrypt.GenerateFromPassword(material(password), h.cost)
	if err != nil {
		return "", fmt.Errorf("hashing a password: %w", err)
	}
	return string(hash), nil
}

// Verify reports whether password is the one that was hashed. An empty hash, for
// an account that doesn't exist or has no password, takes as long as any other.
func (h *Hasher) Verify(ctx context.Context, hash, password string) (bool, error) {
	if err := h.acquire(ctx); err != nil {
		return false, err
	}
	defer h.release()
	against := []byte(hash)
	if hash == "" {
		against = h.decoy
	}
	err := bcrypt.CompareHashAndPassword(against, material(password))
	if err != nil && !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
		return false, fmt.Errorf("checking a password: %w", err)
	}
	return err == nil && hash != "" && len(password) <= MaxLength, nil
}

// material is what bcrypt gets. It takes at most 72 bytes, so a longer password
// is hashed first, and the digest written in base64; shorter ones are used as
// they are, so that hashes from elsewhere can be taken over.
func material(password string) []byte {
	if len(password) <= 72 {
		return []byte(password)
	}
	digest := sha256.Sum256([]byte(password))
	return []byte(base64.StdEncoding.EncodeToString(digest[:]))
}

// acquire waits for a slot until ctx ends.
func (h *Hasher) acquire(ctx context.Context) error {
	select {
	case h.slots <- struct{}{}:
		return nil
	default:
	}
	if h.waiting.Add(1) > maxWaiting {
		h.waiting.Add(-1)
		return ErrBusy
	}
	defer h.waiting.Add(-1)
	select {
	case h.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting to check a password: %w", ctx.Err())
	}
}

func (h *Hasher) release() { <-h.slots }
