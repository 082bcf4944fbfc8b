package clientapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"time"

	"hearth/internal/devicekeys"
	"hearth/internal/userid"
)

// foundKeys are the keys of users, with the signatures that the asker may see.
type foundKeys struct {
	*devicekeys.Keys
	asker string
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
	f := &foundKeys{keys, asker, map[string]any{}}
	if err != nil || len(remote) == 0 {
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

// answer is what was asked for: of each user the devices named, or all.
func (f *foundKeys) answer(asked map[string][]string) map[string]any {
	devices := f.Asked(asked)
	for userID := range devices {
		// No answer isn't that there are no devices.
		if f.failures[userid.Domain(userID)] != nil && f.Devices[userID] == nil {
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
