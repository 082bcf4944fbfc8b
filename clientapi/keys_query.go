package clientapi

import (
	"encoding/json"
	"net/http"

	"hearth/internal/devicekeys"
)

// foundKeys are the keys of users, with the signatures that the asker may see.
type foundKeys struct {
	*devicekeys.Keys
	asker string
}

// queryKeys reads the users' keys and adds the signatures that came apart from
// them.
func (a *API) queryKeys(r *http.Request, users []string, asker string) (*foundKeys, error) {
	keys, err := devicekeys.Find(r.Context(), a.db, users, asker)
	return &foundKeys{keys, asker}, err
}

// answer is what was asked for: of each user the devices named, or all.
func (f *foundKeys) answer(asked map[string][]string) map[string]any {
	answer := map[string]any{"device_keys": f.Asked(asked), "failures": struct{}{}}
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
