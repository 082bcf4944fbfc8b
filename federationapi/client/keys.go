package client

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/spec"
	"golang.org/x/sync/singleflight"

	"hearth/storage"
)

// Keys are the signing keys of servers: in memory, else in the database, else
// fetched from the server or from notaries. It is a gomatrixserverlib.JSONVerifier.
type Keys struct {
	c *Client
	// known holds each server's keys by id; asked when a server was last asked.
	known    *cache[map[string]storage.ServerKey]
	asked    *cache[struct{}]
	fetching singleflight.Group
	slots    chan struct{} // bounds the requests for keys under way
	own      []storage.ServerKey
}

var _ gomatrixserverlib.JSONVerifier = (*Keys)(nil)

const (
	// knownLifetime is how long keys stay in memory without a look at the database,
	// where another process may have put newer ones.
	knownLifetime = 10 * time.Minute
	// askAgain is how long a server isn't asked for its keys again: a signature by a
	// key that doesn't exist costs one request a minute, however many there are.
	askAgain = time.Minute
	// askAgainFailed is askAgain after a failure.
	askAgainFailed = 10 * time.Second
	// maxValidity is how far into the future a key is believed to be valid.
	//
	// https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period
	maxValidity = 7 * 24 * time.Hour
	// ownValidity is how long others may believe this server's keys without asking.
	ownValidity = 24 * time.Hour
)

func newKeys(ctx context.Context, c *Client) (*Keys, error) {
	k := &Keys{c: c, known: newCache[map[string]storage.ServerKey](), asked: newCache[struct{}](), slots: make(chan struct{}, maxFetches)}
	name := c.o.ServerName
	current := storage.ServerKey{Server: name, KeyID: c.o.KeyID, PublicKey: c.o.PrivateKey.Public().(ed25519.PublicKey)}
	// The key in use and those from before it: a key that was replaced is published as
	// old from the first start without it.
	if err := c.db.StoreServerKeys(ctx, []storage.ServerKey{current}, true); err != nil {
		return nil, err
	}
	if err := c.db.ExpireServerKeys(ctx, name, c.o.KeyID, time.Now().UnixMilli()); err != nil {
		return nil, err
	}
	var err error
	k.own, err = c.db.ListServerKeys(ctx, []string{name})
	return k, err
}

// wanted is what a batch of signatures needs of one server: each key, and until when
// it must be valid.
type wanted map[string]int64

// VerifyJSONs checks a batch of signatures; see gomatrixserverlib.JSONVerifier.
func (k *Keys) VerifyJSONs(ctx context.Context, requests []gomatrixserverlib.VerifyJSONRequest) ([]gomatrixserverlib.VerifyJSONResult, error) {
	found, err := k.Gather(ctx, requests)
	if err != nil {
		return nil, err
	}
	return found.VerifyJSONs(ctx, requests)
}

// Gather fetches the keys that are needed to check signatures, once for all. What it returns has
// those that could be had, and asks nobody.
func (k *Keys) Gather(ctx context.Context, requests []gomatrixserverlib.VerifyJSONRequest) (gomatrixserverlib.JSONVerifier, error) {
	need := map[string]wanted{}
	for _, r := range requests {
		server := string(r.ServerName)
		for _, id := range keyIDs(server, r.Message) {
			if need[server] == nil {
				need[server] = wanted{}
			}
			need[server][id] = max(need[server][id], int64(r.AtTS))
		}
	}
	found, err := k.find(ctx, need)
	return gathered(found), err
}

// gathered are keys of servers by their ids.
type gathered map[string]map[string]storage.ServerKey

// VerifyJSONs implements gomatrixserverlib.JSONVerifier.
func (g gathered) VerifyJSONs(_ context.Context, requests []gomatrixserverlib.VerifyJSONRequest) ([]gomatrixserverlib.VerifyJSONResult, error) {
	results := make([]gomatrixserverlib.VerifyJSONResult, len(requests))
	for i, r := range requests {
		results[i].Error = fmt.Errorf("not signed by %s", r.ServerName)
		if ids := keyIDs(string(r.ServerName), r.Message); len(ids) > 0 {
			results[i].Error = verify(&r, ids, g[string(r.ServerName)])
		}
	}
	return results, nil
}

// Knows reports whether the server's keys are known without asking it.
func (k *Keys) Knows(ctx context.Context, server string) (bool, error) {
	if keys, ok := k.known.get(server); ok {
		return len(keys) > 0, nil
	}
	found := map[string]map[string]storage.ServerKey{}
	err := k.read(ctx, []string{server}, found)
	return len(found[server]) > 0, err
}

// VerifyJSON checks that an object is signed by a server with a key that is valid
// now.
func (k *Keys) VerifyJSON(ctx context.Context, server string, object []byte) error {
	results, err := k.VerifyJSONs(ctx, []gomatrixserverlib.VerifyJSONRequest{{
		ServerName: spec.ServerName(server), Message: object, AtTS: spec.AsTimestamp(time.Now()),
		ValidityCheckingFunc: gomatrixserverlib.StrictValiditySignatureCheck,
	}})
	if err != nil {
		return err
	}
	return results[0].Error
}

// maxKeysPerObject bounds the signatures of one server that are looked at.
const maxKeysPerObject = 10

// policyKeyID names the key of policy servers, which isn't published.
//
// https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures
const policyKeyID = "ed25519:policy_server"

// keyIDs are the keys with which the server has signed the object.
func keyIDs(server string, object []byte) []string {
	all, err := gomatrixserverlib.ListKeyIDs(server, object)
	if err != nil {
		return nil
	}
	var list []string
	for _, id := range all {
		if strings.HasPrefix(string(id), "ed25519:") && id != policyKeyID && len(id) <= 255 && len(list) < maxKeysPerObject {
			list = append(list, string(id))
		}
	}
	return list
}

// verify returns nil if one of the signatures is good.
func verify(r *gomatrixserverlib.VerifyJSONRequest, ids []string, keys map[string]storage.ServerKey) error {
	failed := fmt.Errorf("%w: those of %s", ErrNoKey, r.ServerName)
	for _, id := range ids {
		key, ok := keys[id]
		if !ok {
			continue
		}
		if !validAt(key, r) {
			failed = fmt.Errorf("the key %s of %s wasn't valid then", id, r.ServerName)
			continue
		}
		failed = gomatrixserverlib.VerifyJSON(string(r.ServerName), gomatrixserverlib.KeyID(id), key.PublicKey, r.Message)
		if failed == nil {
			return nil
		}
	}
	return failed
}

func validAt(key storage.ServerKey, r *gomatrixserverlib.VerifyJSONRequest) bool {
	if key.ExpiredAt != 0 {
		return int64(r.AtTS) < key.ExpiredAt
	}
	return r.ValidityCheckingFunc == nil || r.ValidityCheckingFunc(r.AtTS, spec.Timestamp(key.ValidUntil))
}

// find returns the keys of the servers by id: from where they are known, and where
// those are too few or too old, from the servers and the notaries.
func (k *Keys) find(ctx context.Context, need map[string]wanted) (map[string]map[string]storage.ServerKey, error) {
	found := map[string]map[string]storage.ServerKey{}
	var unread []string
	for server := range need {
		if server == k.c.o.ServerName {
			found[server] = k.ownKeys(time.Now())
		} else if keys, ok := k.known.get(server); ok {
			found[server] = keys
		} else {
			unread = append(unread, server)
		}
	}
	if err := k.read(ctx, unread, found); err != nil {
		return nil, err
	}
	var missing []string
	for server, w := range need {
		if server != k.c.o.ServerName && !w.satisfied(found[server]) {
			missing = append(missing, server)
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	if err := k.fetch(ctx, missing, need); err != nil {
		return nil, err
	}
	return found, k.read(ctx, missing, found)
}

// read reads the keys of servers from the database.
func (k *Keys) read(ctx context.Context, servers []string, into map[string]map[string]storage.ServerKey) error {
	if len(servers) == 0 {
		return nil
	}
	list, err := k.c.db.ListServerKeys(ctx, servers)
	if err != nil {
		return err
	}
	for _, server := range servers {
		into[server] = map[string]storage.ServerKey{}
	}
	for _, key := range list {
		into[key.Server][key.KeyID] = key
	}
	for _, server := range servers {
		k.known.set(server, into[server], knownLifetime)
	}
	return nil
}

// satisfied reports whether no more would be learned by asking for keys.
func (w wanted) satisfied(keys map[string]storage.ServerKey) bool {
	now := time.Now().UnixMilli()
	for id, at := range w {
		key, ok := keys[id]
		if !ok || key.ExpiredAt == 0 && key.ValidUntil < min(at, now) {
			return false
		}
	}
	return true
}

// ownKeys are this server's, those in use valid for a while from now.
func (k *Keys) ownKeys(now time.Time) map[string]storage.ServerKey {
	keys := make(map[string]storage.ServerKey, len(k.own))
	for _, key := range k.own {
		if key.ExpiredAt == 0 {
			key.ValidUntil = now.Add(ownValidity).UnixMilli()
		}
		keys[key.KeyID] = key
	}
	return keys
}

// ErrNoKey is wrapped by what comes of a signature by a key that isn't known: it may be right.
var ErrNoKey = errors.New("the keys can't be had")

// errRejected is the result of being given keys that prove nothing.
var errRejected = errors.New("the published keys aren't valid")
