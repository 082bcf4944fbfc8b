package clientapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"hearth/storage"
)

// foundKeys are the keys of users, with the signatures that the asker may see.
type foundKeys struct {
	asker   string
	devices map[string]map[string]json.RawMessage // by user and device
	cross   map[string]map[string]json.RawMessage // by usage and user
}

// queryKeys reads the users' keys and adds the signatures that came apart from
// them.
func (a *API) queryKeys(r *http.Request, users []string, asker string) (*foundKeys, error) {
	f := &foundKeys{asker: asker, devices: map[string]map[string]json.RawMessage{}, cross: map[string]map[string]json.RawMessage{}}
	devices, err := a.db.ListDeviceKeys(r.Context(), users)
	if err != nil {
		return nil, err
	}
	crossKeys, err := a.db.ListCrossSigningKeys(r.Context(), users)
	if err != nil {
		return nil, err
	}
	signatures, err := a.db.ListKeySignatures(r.Context(), users, asker)
	if err != nil {
		return nil, err
	}
	byTarget := map[[2]string][]storage.KeySignature{}
	for _, s := range signatures {
		k := [2]string{s.TargetID, s.TargetKey}
		byTarget[k] = append(byTarget[k], s)
	}
	for _, k := range crossKeys {
		if f.cross[k.Usage] == nil {
			f.cross[k.Usage] = map[string]json.RawMessage{}
		}
		f.cross[k.Usage][k.UserID] = withSignatures(k.JSON, byTarget[[2]string{k.UserID, publicKey(k.JSON)}])
	}
	for _, d := range devices {
		raw := withSignatures(d.JSON, byTarget[[2]string{d.UserID, d.DeviceID}])
		if d.DisplayName != "" {
			if named, err := sjson.SetBytes(raw, "unsigned.device_display_name", d.DisplayName); err == nil {
				raw = named
			}
		}
		if f.devices[d.UserID] == nil {
			f.devices[d.UserID] = map[string]json.RawMessage{}
		}
		f.devices[d.UserID][d.DeviceID] = raw
	}
	return f, nil
}

// withSignatures adds signatures to a signed object.
func withSignatures(raw json.RawMessage, signatures []storage.KeySignature) json.RawMessage {
	escape := strings.NewReplacer(`\`, `\\`, ".", `\.`, ":", `\:`, "*", `\*`, "?", `\?`, "|", `\|`, "#", `\#`, "@", `\@`)
	for _, s := range signatures {
		path := "signatures." + escape.Replace(s.SignerID) + "." + escape.Replace(s.SignerKey)
		if signed, err := sjson.SetBytes(raw, path, s.Signature); err == nil {
			raw = signed
		}
	}
	return raw
}

// publicKey is the public part of a cross-signing key: the only entry of keys,
// without the algorithm.
func publicKey(raw []byte) string {
	public := ""
	gjson.GetBytes(raw, "keys").ForEach(func(_, v gjson.Result) bool {
		public = v.Str
		return false
	})
	return public
}

// answer is what was asked for: of each user the devices named, or all.
func (f *foundKeys) answer(asked map[string][]string) map[string]any {
	devices := map[string]map[string]json.RawMessage{}
	for userID, wanted := range asked {
		all, ok := f.devices[userID]
		if !ok {
			all = map[string]json.RawMessage{}
		}
		if len(wanted) > 0 {
			some := map[string]json.RawMessage{}
			for id, raw := range all {
				if slices.Contains(wanted, id) {
					some[id] = raw
				}
			}
			all = some
		}
		devices[userID] = all
	}
	answer := map[string]any{"device_keys": devices, "failures": struct{}{}}
	for usage, name := range map[string]string{"master": "master_keys", "self_signing": "self_signing_keys"} {
		if f.cross[usage] != nil {
			answer[name] = f.cross[usage]
		}
	}
	// Whom a user has verified is for that user alone.
	if own := f.cross["user_signing"][f.asker]; own != nil {
		answer["user_signing_keys"] = map[string]json.RawMessage{f.asker: own}
	}
	return answer
}
