package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"golang.org/x/sync/errgroup"

	"hearth/storage"
)

const (
	keyTimeout = 20 * time.Second
	// directTimeout bounds the wait for many servers: the keys that haven't come by then are
	// left to the notaries.
	directTimeout = 40 * time.Second
	// maxKeyAnswer bounds what one server may publish; a notary may answer for many.
	maxKeyAnswer    = 64 << 10
	maxNotaryAnswer = 4 << 20
	maxNotaryBatch  = 100
	// maxFetches bounds the servers that are asked for keys at the same time, and
	// maxFetchesEach those for one caller.
	maxFetches     = 128
	maxFetchesEach = 48
	// maxServerKeys bounds the keys taken from one server's answer.
	maxServerKeys = 100
)

// fetch asks the servers for their keys, and the notaries for those that still are
// missing, and stores what it gets. Only a broken database or an end of ctx is an
// error.
func (k *Keys) fetch(ctx context.Context, servers []string, need map[string]wanted) error {
	var g errgroup.Group
	g.SetLimit(maxFetchesEach)
	failed := make([]bool, len(servers))
	direct, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	for i, server := range servers {
		g.Go(func() error {
			failed[i] = k.fetchDirect(direct, server) != nil
			return nil
		})
	}
	g.Wait() // never an error
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("fetching keys: %w", err)
	}
	if len(k.c.o.Notaries) == 0 {
		return nil
	}
	found := map[string]map[string]storage.ServerKey{}
	if err := k.read(ctx, servers, found); err != nil {
		return err
	}
	var missing []string
	for i, server := range servers {
		_, lately := k.asked.get("notary " + server)
		if !lately && (failed[i] || !need[server].satisfied(found[server])) {
			missing = append(missing, server)
			k.asked.set("notary "+server, struct{}{}, askAgain)
		}
	}
	for batch := range slices.Chunk(missing, maxNotaryBatch) {
		k.fetchFromNotaries(ctx, batch, need)
	}
	return nil
}

// fetchDirect asks a server for its keys, once however many want them, and not more
// often than every askAgain.
func (k *Keys) fetchDirect(ctx context.Context, server string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := k.fetching.DoChan(server, func() (any, error) {
		if _, lately := k.asked.get(server); lately {
			return nil, errRejected
		}
		k.asked.set(server, struct{}{}, askAgain)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyTimeout)
		defer cancel()
		var err error
		select {
		case k.slots <- struct{}{}:
			err = k.fetchPublished(ctx, server)
			<-k.slots
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			k.asked.set(server, struct{}{}, askAgainFailed)
			k.c.log.Debug("fetching keys", "server", server, "err", err)
		}
		return nil, err
	})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case r := <-done:
		return r.Err
	}
}

func (k *Keys) fetchPublished(ctx context.Context, server string) error {
	body, err := k.c.Do(ctx, Request{Method: http.MethodGet, Server: server, URI: "/_matrix/key/v2/server",
		MaxAnswer: maxKeyAnswer, Timeout: keyTimeout, Unsigned: true})
	if err != nil {
		return err
	}
	published, err := CheckPublishedKeys(server, body)
	if err != nil {
		return err
	}
	if published.ValidUntil < time.Now().UnixMilli() {
		return fmt.Errorf("%w: they have expired", errRejected)
	}
	return k.store(ctx, published, body, true)
}

// fetchFromNotaries asks the notaries, one after another, for the keys of servers
// that can't be asked themselves.
func (k *Keys) fetchFromNotaries(ctx context.Context, servers []string, need map[string]wanted) {
	type criteria struct {
		MinimumValidUntil int64 `json:"minimum_valid_until_ts"`
	}
	query := map[string]map[string]criteria{}
	for _, server := range servers {
		query[server] = map[string]criteria{}
		for id, at := range need[server] {
			query[server][id] = criteria{min(at, time.Now().UnixMilli())}
		}
	}
	for _, notary := range k.c.o.Notaries {
		body, err := k.c.Do(ctx, Request{Method: http.MethodPost, Server: notary, URI: "/_matrix/key/v2/query",
			Body: map[string]any{"server_keys": query}, MaxAnswer: maxNotaryAnswer, Timeout: keyTimeout})
		var answer struct {
			ServerKeys []json.RawMessage `json:"server_keys"`
		}
		if err == nil {
			err = json.Unmarshal(body, &answer)
		}
		if err != nil {
			k.c.log.Debug("asking a notary for keys", "notary", notary, "err", err)
			continue
		}
		for _, object := range answer.ServerKeys {
			server := k.believe(ctx, notary, object, query[serverOf(object)] != nil)
			delete(query, server)
		}
		if len(query) == 0 {
			return
		}
	}
}

func serverOf(object []byte) string {
	var o struct {
		Server string `json:"server_name"`
	}
	if json.Unmarshal(object, &o) != nil {
		return ""
	}
	return o.Server
}

// believe stores what a notary says of another server's keys, if the notary has
// signed it and it was asked for, and returns whose they are.
func (k *Keys) believe(ctx context.Context, notary string, object []byte, asked bool) string {
	server := serverOf(object)
	if !asked {
		return ""
	}
	published, err := CheckPublishedKeys(server, object)
	if err == nil {
		err = k.VerifyJSON(ctx, notary, object)
	}
	if err == nil {
		err = k.store(ctx, published, object, false)
	}
	if err != nil {
		k.c.log.Debug("a notary's answer isn't believed", "notary", notary, "server", server, "err", err)
		return ""
	}
	return server
}

// store keeps published keys and forgets older ones in memory.
func (k *Keys) store(ctx context.Context, p *PublishedKeys, object []byte, replace bool) error {
	if err := k.c.db.StoreServerKeys(ctx, p.Keys, replace); err != nil {
		return err
	}
	err := k.c.db.StoreServerKeyObject(ctx, storage.ServerKeyObject{
		Server: p.Server, JSON: object, ValidUntil: p.ValidUntil, FetchedAt: time.Now().UnixMilli()})
	k.known.drop(p.Server)
	return err
}

// PublishedKeys is what a server says of its own keys.
type PublishedKeys struct {
	Server     string
	ValidUntil int64
	Keys       []storage.ServerKey
}

// CheckPublishedKeys reads an object in which a server publishes its keys. It must
// be signed with every key that is said to be in use.
//
// https://spec.matrix.org/v1.19/server-server-api/#publishing-keys
func CheckPublishedKeys(server string, object []byte) (*PublishedKeys, error) {
	var keys gomatrixserverlib.ServerKeys
	if err := json.Unmarshal(object, &keys); err != nil {
		return nil, fmt.Errorf("%w: %v", errRejected, err)
	}
	if len(keys.VerifyKeys)+len(keys.OldVerifyKeys) > maxServerKeys {
		return nil, fmt.Errorf("%w: there are more than %d", errRejected, maxServerKeys)
	}
	checks, verified := gomatrixserverlib.CheckKeys(keys.ServerName, time.UnixMilli(0), keys)
	switch {
	case string(keys.ServerName) != server:
		return nil, fmt.Errorf("%w: they are those of %q", errRejected, keys.ServerName)
	case !checks.AllChecksOK || len(verified) == 0:
		return nil, fmt.Errorf("%w: they don't sign themselves", errRejected)
	}
	latest := time.Now().Add(maxValidity).UnixMilli()
	p := &PublishedKeys{Server: server, ValidUntil: min(int64(keys.ValidUntilTS), latest)}
	for id, key := range keys.OldVerifyKeys {
		if _, current := verified[id]; !current && len(key.Key) == 32 && key.ExpiredTS > 0 {
			p.Keys = append(p.Keys, storage.ServerKey{Server: server, KeyID: string(id), PublicKey: key.Key, ExpiredAt: int64(min(key.ExpiredTS, 1<<62))})
		}
	}
	for id, key := range verified {
		p.Keys = append(p.Keys, storage.ServerKey{Server: server, KeyID: string(id), PublicKey: key, ValidUntil: p.ValidUntil})
	}
	return p, nil
}
