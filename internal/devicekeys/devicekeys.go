// Package devicekeys puts together what others may know of users' devices: their
// identity keys, cross-signing keys and the signatures that came apart from them.
package devicekeys

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"hearth/storage"
)

// Keys are the keys of users.
type Keys struct {
	// Devices are the identity keys by user and device.
	Devices map[string]map[string]json.RawMessage
	// Cross are the cross-signing keys by usage and user.
	Cross map[string]map[string]json.RawMessage
}

// Find reads the users' keys with the signatures that the asker may see: those by
// the users themselves and, unless the asker is "", by the asker.
func Find(ctx context.Context, db *storage.DB, users []string, asker string) (*Keys, error) {
	k := &Keys{Devices: map[string]map[string]json.RawMessage{}, Cross: map[string]map[string]json.RawMessage{}}
	devices, err := db.ListDeviceKeys(ctx, users)
	if err != nil {
		return nil, err
	}
	crossKeys, err := db.ListCrossSigningKeys(ctx, users)
	if err != nil {
		return nil, err
	}
	for _, c := range crossKeys {
		if k.Cross[c.Usage] == nil {
			k.Cross[c.Usage] = map[string]json.RawMessage{}
		}
		k.Cross[c.Usage][c.UserID] = c.JSON
	}
	for _, d := range devices {
		if k.Devices[d.UserID] == nil {
			k.Devices[d.UserID] = map[string]json.RawMessage{}
		}
		k.Devices[d.UserID][d.DeviceID] = d.JSON
	}
	if err := k.Sign(ctx, db, users, asker); err != nil {
		return nil, err
	}
	for _, d := range devices {
		if d.DisplayName == "" {
			continue
		}
		if named, err := sjson.SetBytes(k.Devices[d.UserID][d.DeviceID], "unsigned.device_display_name", d.DisplayName); err == nil {
			k.Devices[d.UserID][d.DeviceID] = named
		}
	}
	return k, nil
}

// Sign adds the signatures on users' keys that came apart from them and that the asker may
// see.
func (k *Keys) Sign(ctx context.Context, db *storage.DB, users []string, asker string) error {
	signatures, err := db.ListKeySignatures(ctx, users, asker)
	if err != nil {
		return err
	}
	byTarget := map[[2]string][]storage.KeySignature{}
	for _, s := range signatures {
		t := [2]string{s.TargetID, s.TargetKey}
		byTarget[t] = append(byTarget[t], s)
	}
	for _, userID := range users {
		for id, raw := range k.Devices[userID] {
			if list := byTarget[[2]string{userID, id}]; list != nil {
				k.Devices[userID][id] = withSignatures(raw, list)
			}
		}
		for _, byUser := range k.Cross {
			if raw := byUser[userID]; raw != nil {
				byUser[userID] = withSignatures(raw, byTarget[[2]string{userID, PublicKey(raw)}])
			}
		}
	}
	return nil
}

var pathEscape = strings.NewReplacer(`\`, `\\`, ".", `\.`, ":", `\:`, "*", `\*`, "?", `\?`, "|", `\|`, "#", `\#`, "@", `\@`)

// withSignatures adds signatures to a signed object.
func withSignatures(raw json.RawMessage, signatures []storage.KeySignature) json.RawMessage {
	for _, s := range signatures {
		path := "signatures." + pathEscape.Replace(s.SignerID) + "." + pathEscape.Replace(s.SignerKey)
		if signed, err := sjson.SetBytes(raw, path, s.Signature); err == nil {
			raw = signed
		}
	}
	return raw
}

// PublicKey is the public part of a cross-signing key: the only entry of keys,
// without the algorithm.
func PublicKey(raw []byte) string {
	public := ""
	gjson.GetBytes(raw, "keys").ForEach(func(_, v gjson.Result) bool {
		public = v.Str
		return false
	})
	return public
}

// Asked returns of each user the devices that are named, or all where none is.
func (k *Keys) Asked(asked map[string][]string) map[string]map[string]json.RawMessage {
	devices := map[string]map[string]json.RawMessage{}
	for userID, wanted := range asked {
		some := map[string]json.RawMessage{}
		for id, raw := range k.Devices[userID] {
			if len(wanted) == 0 || slices.Contains(wanted, id) {
				some[id] = raw
			}
		}
		devices[userID] = some
	}
	return devices
}
