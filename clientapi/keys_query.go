package clientapi

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"

	"hearth/internal/devicekeys"
	"hearth/internal/userid"
	"hearth/storage"
)

// foundKeys are the keys of users, with the signatures that the asker may see.
type foundKeys struct {
	*devicekeys.Keys
	asker string
	// unknown are those who have no account on this server.
	unknown map[string]bool
	// failures are the servers that couldn't be asked.
	failures map[string]any
}

const (
	// defaultKeysTimeout and maxKeysTimeout are how long other servers are waited for.
	defaultKeysTimeout, maxKeysTimeout = 10 * time.Second, time.Minute
)

// keysTimeout is how long a client wants other servers to be waited for, in
// milliseconds; 0 for nothing said.
func keysTimeout(wanted int64) time.Duration {
	if wanted <= 0 {
		return defaultKeysTimeout
	}
	return time.Duration(min(wanted, maxKeysTimeout.Milliseconds())) * time.Millisecond
}

// queryKeys reads the users' keys, or asks their servers, and adds the signatures that
// came apart from them.
func (a *API) queryKeys(r *http.Request, users []string, asker string, timeout time.Duration) (*foundKeys, error) {
	var local, remote []string
	for _, userID := range users {
		if userid.IsLocal(userID, a.serverName) || a.o.Federation == nil {
			local = append(local, userID)
		} else if _, _, ok := userid.Split(userID); ok {
			remote = append(remote, userID)
		}
	}
	keys, err := devicekeys.Find(r.Context(), a.db, local, asker)
	if err != nil {
		return nil, err
	}
	f := &foundKeys{keys, asker, map[string]bool{}, map[string]any{}}
	if err := f.findUnknown(r.Context(), a.db, local); err != nil || len(remote) == 0 {
		return f, err
	}
	others, failures, err := a.o.Federation.QueryKeys(r.Context(), remote, timeout)
	if err != nil {
		return nil, err
	}
	if err := others.Sign(r.Context(), a.db, remote, asker); err != nil {
		return nil, err
	}
	f.failures = failures
	maps.Copy(f.Devices, others.Devices)
	for usage, byUser := range others.Cross {
		if f.Cross[usage] == nil {
			f.Cross[usage] = byUser
			continue
		}
		maps.Copy(f.Cross[usage], byUser)
	}
	return f, nil
}

// findUnknown finds out who of the users there isn't: of an account without keys is said that
// it has none, of others nothing.
func (f *foundKeys) findUnknown(ctx context.Context, db *storage.DB, users []string) error {
	for _, userID := range users {
		if f.Devices[userID] == nil {
			f.unknown[userID] = true
		}
	}
	if len(f.unknown) == 0 {
		return nil
	}
	known, err := db.AccountsAmong(ctx, slices.Collect(maps.Keys(f.unknown)))
	for _, userID := range known {
		delete(f.unknown, userID)
	}
	return err
}

// answer is what was asked for: of each user the devices named, or all.
func (f *foundKeys) answer(asked map[string][]string) map[string]any {
	devices := f.Asked(asked)
	for userID := range devices {
		// No answer isn't that there are no devices.
		if f.failures[userid.Domain(userID)] != nil && f.Devices[userID] == nil || f.unknown[userID] || !isText(userID) {
			delete(devices, userID)
		}
	}
	answer := map[string]any{"device_keys": devices, "failures": f.failures}
	for usage, name := range map[string]string{"master": "master_keys", "self_signing": "self_signing_keys"} {
		if f.Cross[usage] != nil {
			answer[name] = f.Cross[usage]
		}
	}
	// Whom a user has verified is for that user alone.
	if own := f.Cross["user_signing"][f.asker]; own != nil {
		answer["user_signing_keys"] = map[string]json.RawMessage{f.asker: own}
	}
	return answer
}
