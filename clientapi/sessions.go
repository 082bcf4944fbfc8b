package clientapi

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	// maxSessions bounds the access tokens kept in memory.
	maxSessions = 50_000
	// sessionMaxAge is after how long a token is read from the database again. What
	// this process changes takes effect at once; this is for what others do, such
	// as a command that sets a password.
	sessionMaxAge = time.Minute
	// quietMaxAge is the same for polls that are answered with nothing, again and again.
	quietMaxAge = 10 * time.Minute
)

// sessions finds who access tokens belong to, nearly always in memory.
type sessions struct {
	db    *storage.DB
	mu    sync.Mutex // guards generation and, against it, additions to cache
	cache *lru.Cache[storage.TokenHash, *session]
	// generation moves with every invalidation, so that what was read from the
	// database before one isn't put into the cache after it.
	generation uint64
}

type session struct {
	requester *httpapi.Requester
	expiresAt time.Time // zero is never
	loadedAt  time.Time
}

func newSessions(db *storage.DB) *sessions {
	cache, err := lru.NewWithEvict(maxSessions, func(_ storage.TokenHash, gone *session) { gone.requester.Retire() })
	if err != nil {
		panic(err) // only for a size that isn't positive
	}
	return &sessions{db: db, cache: cache}
}

// newToken returns a random token of 256 bits with a recognisable prefix, and
// what is stored of it.
func newToken(prefix string) (token string, hash storage.TokenHash) {
	var b [32]byte
	rand.Read(b[:]) // never fails
	token = prefix + base64.RawURLEncoding.EncodeToString(b[:])
	return token, hashToken(token)
}

func hashToken(token string) storage.TokenHash { return sha256.Sum256([]byte(token)) }

func (s *sessions) authenticate(ctx context.Context, token string) (*httpapi.Requester, error) {
	hash, now := hashToken(token), time.Now()
	known, ok := s.cache.Get(hash)
	if !ok || now.Sub(known.loadedAt) >= sessionMaxAge {
		var err error
		if known, err = s.load(ctx, hash, now); err != nil {
			return nil, err
		}
	}
	if known.expired(now) {
		return nil, httpapi.UnknownToken(true)
	}
	return known.requester, nil
}

func (k *session) expired(now time.Time) bool {
	return !k.expiresAt.IsZero() && now.After(k.expiresAt)
}

// load reads a token from the database into the cache. The first use of a
// refreshed token ends the one it was refreshed from.
func (s *sessions) load(ctx context.Context, hash storage.TokenHash, now time.Time) (*session, error) {
	s.mu.Lock()
	generation := s.generation
	s.mu.Unlock()
	t, err := s.db.GetToken(ctx, hash)
	if errors.Is(err, storage.ErrNotFound) {
		s.forget([]storage.TokenHash{hash})
		return nil, httpapi.UnknownToken(false)
	}
	if err != nil {
		return nil, err
	}
	k := &session{
		requester: &httpapi.Requester{UserID: t.UserID, DeviceID: t.DeviceID, TokenID: t.ID,
			Admin: t.Admin, Guest: t.Guest, Locked: t.Locked, Suspended: t.Suspended, GoodUntil: now.Add(quietMaxAge)},
		expiresAt: t.ExpiresAt, loadedAt: now,
	}
	if !k.expiresAt.IsZero() && k.expiresAt.Before(k.requester.GoodUntil) {
		k.requester.GoodUntil = k.expiresAt
	}
	if t.ReplacesID != 0 && !k.expired(now) {
		if err := s.retire(ctx, t); err != nil {
			return nil, err
		}
		return k, nil // the retirement was an invalidation; the next request fills the cache
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.generation == generation {
		s.cache.Remove(hash) // which retires the requester
		s.cache.Add(hash, k)
	}
	return k, nil
}

func (s *sessions) retire(ctx context.Context, t *storage.Token) error {
	gone, err := s.db.RetireReplacedToken(ctx, t)
	if errors.Is(err, storage.ErrNotFound) {
		return httpapi.UnknownToken(false)
	}
	if err != nil {
		return err
	}
	s.forget(gone)
	return nil
}

// forget drops tokens that are no longer what they were from the cache.
func (s *sessions) forget(hashes []storage.TokenHash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.generation++
	for _, h := range hashes {
		s.cache.Remove(h)
	}
}
