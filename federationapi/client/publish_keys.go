package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"hearth/storage"
)

// OwnPublished is the signed object in which this server publishes its keys.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixkeyv2server
func (k *Keys) OwnPublished() ([]byte, error) {
	type key struct {
		Key       string `json:"key"`
		ExpiredAt int64  `json:"expired_ts,omitempty"`
	}
	current, old := map[string]key{}, map[string]key{}
	for _, own := range k.own {
		public := key{Key: base64.RawStdEncoding.EncodeToString(own.PublicKey), ExpiredAt: own.ExpiredAt}
		if own.ExpiredAt == 0 {
			current[own.KeyID] = public
		} else {
			old[own.KeyID] = public
		}
	}
	text, err := json.Marshal(map[string]any{
		"server_name": k.c.o.ServerName, "verify_keys": current, "old_verify_keys": old,
		"valid_until_ts": time.Now().Add(ownValidity).UnixMilli(),
	})
	if err != nil {
		return nil, fmt.Errorf("publishing keys: %w", err)
	}
	return k.c.SignJSON(text)
}

// Notarise returns what the servers publish of their keys, signed by this server as
// well, fetched anew where it isn't known to be valid until minimum, or where half of its
// lifetime is over. Servers whose keys can't be had are left out.
//
// https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server
func (k *Keys) Notarise(ctx context.Context, minimum map[string]int64) ([]json.RawMessage, error) {
	var servers []string
	answer := []json.RawMessage{}
	for server := range minimum {
		if server != k.c.o.ServerName {
			servers = append(servers, server)
			continue
		}
		own, err := k.OwnPublished()
		if err != nil {
			return nil, err
		}
		answer = append(answer, own)
	}
	known, err := k.published(ctx, servers)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, server := range servers {
		o := known[server] // the zero value is long over
		if halfway := o.FetchedAt + (o.ValidUntil-o.FetchedAt)/2; halfway < time.Now().UnixMilli() || o.ValidUntil < minimum[server] {
			missing = append(missing, server)
		}
	}
	if len(missing) > 0 {
		if err := k.fetch(ctx, missing, map[string]wanted{}); err != nil {
			return nil, err
		}
		if known, err = k.published(ctx, servers); err != nil {
			return nil, err
		}
	}
	for _, o := range known {
		signed, err := k.c.SignJSON(o.JSON)
		if err != nil {
			return nil, err
		}
		answer = append(answer, signed)
	}
	return answer, nil
}

func (k *Keys) published(ctx context.Context, servers []string) (map[string]storage.ServerKeyObject, error) {
	if len(servers) == 0 {
		return nil, nil
	}
	list, err := k.c.db.ListServerKeyObjects(ctx, servers)
	if err != nil {
		return nil, err
	}
	known := make(map[string]storage.ServerKeyObject, len(list))
	for _, o := range list {
		known[o.Server] = o
	}
	return known, nil
}
