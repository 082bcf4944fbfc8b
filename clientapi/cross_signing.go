package clientapi

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"hearth/internal/canonicaljson"
	"hearth/internal/devicekeys"
	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

// crossSigningUpload is the body of POST /keys/device_signing/upload.
type crossSigningUpload struct {
	Master      json.RawMessage `json:"master_key"`
	SelfSigning json.RawMessage `json:"self_signing_key"`
	UserSigning json.RawMessage `json:"user_signing_key"`
}

// postCrossSigning answers POST /_matrix/client/v3/keys/device_signing/upload.
// Who has keys proves who they are to replace one or to add another; the first ones, and
// the same ones again, need no proof.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keysdevice_signingupload
func (a *API) postCrossSigning(r *http.Request, u *httpapi.Requester) (any, error) {
	body, err := httpapi.ReadJSON(r)
	if err != nil {
		return nil, err
	}
	var upload crossSigningUpload
	if err := httpapi.Unmarshal(body, &upload); err != nil {
		return nil, err
	}
	known, err := a.db.ListCrossSigningKeys(r.Context(), []string{u.UserID})
	if err != nil {
		return nil, err
	}
	keys, err := upload.keys(u.UserID, known)
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	if err := a.noDevices(r.Context(), keys); err != nil {
		return nil, err
	}
	if changes(keys, known) {
		r.Body = readAgain(body)
		if _, err := a.interactive(r, u, nil); err != nil {
			return nil, err
		}
	}
	if err := a.db.SetCrossSigningKeys(r.Context(), keys); err != nil {
		return nil, err
	}
	return nil, a.deviceListChanged(r.Context(), u.UserID, crossSigning)
}

// noDevices makes sure that no key is called like a device of its user: signatures and
// verifications name both in one way.
//
// https://spec.matrix.org/v1.19/client-server-api/#key-and-signature-security
func (a *API) noDevices(ctx context.Context, keys []storage.CrossSigningKey) error {
	for _, k := range keys {
		switch _, err := a.db.GetDevice(ctx, k.UserID, devicekeys.PublicKey(k.JSON)); {
		case err == nil:
			return httpapi.Forbidden("One of your devices has the id of the %s key", k.Usage)
		case !errors.Is(err, storage.ErrNotFound):
			return err
		}
	}
	return nil
}

// keys checks the keys of an upload: each is the user's, of one public part, and
// all but the master key are signed by it.
func (b *crossSigningUpload) keys(userID string, known []storage.CrossSigningKey) ([]storage.CrossSigningKey, error) {
	master := []byte(nil)
	for _, k := range known {
		if k.Usage == "master" {
			master = k.JSON
		}
	}
	var keys []storage.CrossSigningKey
	for _, part := range []struct {
		usage string
		raw   json.RawMessage
	}{{"master", b.Master}, {"self_signing", b.SelfSigning}, {"user_signing", b.UserSigning}} {
		if len(part.raw) == 0 || string(part.raw) == "null" {
			continue
		}
		canonical, err := checkCrossSigningKey(userID, part.usage, part.raw)
		if err != nil {
			return nil, err
		}
		if part.usage == "master" {
			master = canonical
		} else if master == nil {
			return nil, httpapi.MissingParam("There is no master key to sign the %s key", part.usage)
		} else if !signedBy(canonical, userID, devicekeys.PublicKey(master)) {
			return nil, httpapi.New(http.StatusBadRequest, "M_INVALID_SIGNATURE", "The %s key isn't signed by the master key", part.usage)
		}
		keys = append(keys, storage.CrossSigningKey{UserID: userID, Usage: part.usage, JSON: canonical})
	}
	return keys, nil
}

func checkCrossSigningKey(userID, usage string, raw []byte) ([]byte, error) {
	canonical, err := canonicaljson.Append(nil, raw)
	if err != nil {
		return nil, httpapi.BadJSON("The %s key is %v", usage, err)
	}
	k := gjson.ParseBytes(canonical)
	if !k.Get("keys").IsObject() || !k.Get("usage").IsArray() {
		return nil, httpapi.BadJSON("The %s key needs keys and usage", usage)
	}
	if k.Get("user_id").Str != userID || k.Get("usage.#").Int() != 1 || k.Get("usage.0").Str != usage {
		return nil, httpapi.InvalidParam("The %s key is of another user or usage", usage)
	}
	valid := 0
	k.Get("keys").ForEach(func(name, value gjson.Result) bool {
		decoded, err := decodeKey(value.Str)
		if err == nil && len(decoded) == ed25519.PublicKeySize && name.Str == "ed25519:"+value.Str {
			valid++
		}
		return true
	})
	if valid != 1 || len(k.Get("keys").Map()) != 1 {
		return nil, httpapi.InvalidParam("The %s key must hold exactly one Ed25519 key, named after itself", usage)
	}
	return canonical, nil
}

func decodeKey(text string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
}

// signedBy reports whether the object carries a valid signature of the user's key.
func signedBy(raw []byte, userID, public string) bool {
	key, err := decodeKey(public)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return false
	}
	return gomatrixserverlib.VerifyJSON(userID, gomatrixserverlib.KeyID("ed25519:"+public), key, raw) == nil
}

// changes reports whether an upload says anything else than what a user has who has
// keys already: another key in the place of one, or one more.
func changes(keys, known []storage.CrossSigningKey) bool {
	if len(known) == 0 {
		return false
	}
	public := map[string]string{}
	for _, old := range known {
		public[old.Usage] = devicekeys.PublicKey(old.JSON)
	}
	for _, k := range keys {
		if public[k.Usage] != devicekeys.PublicKey(k.JSON) {
			return true
		}
	}
	return false
}

// postSignatures answers POST /_matrix/client/v3/keys/signatures/upload. Every
// signature is verified before it is stored; what fails is reported, the rest is
// kept.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3keyssignaturesupload
func (a *API) postSignatures(r *http.Request, u *httpapi.Requester) (any, error) {
	var body map[string]map[string]json.RawMessage
	if err := httpapi.DecodeJSON(r, &body); err != nil {
		return nil, err
	}
	users := []string{u.UserID}
	n := 0
	for userID, objects := range body {
		users = append(users, userID)
		n += len(objects)
	}
	if n > maxQueriedUsers {
		return nil, httpapi.InvalidParam("There are more than %d signed objects", maxQueriedUsers)
	}
	found, err := a.queryKeys(r, users, u.UserID, defaultKeysTimeout)
	if err != nil {
		return nil, err
	}
	failures := map[string]map[string]any{}
	var good []storage.KeySignature
	touched := map[string][]string{}
	for userID, objects := range body {
		for key, raw := range objects {
			signatures, failure := found.verify(u.UserID, userID, key, raw)
			if failure != nil {
				if failures[userID] == nil {
					failures[userID] = map[string]any{}
				}
				failures[userID][key] = map[string]string{"errcode": failure.Code, "error": failure.Message}
				continue
			}
			good = append(good, signatures...)
			if _, isDevice := found.Devices[userID][key]; !isDevice {
				key = crossSigning
			}
			touched[userID] = append(touched[userID], key)
		}
	}
	if err := a.db.AddKeySignatures(r.Context(), good); err != nil {
		return nil, err
	}
	for userID, devices := range touched {
		if err := a.deviceListChanged(r.Context(), userID, devices...); err != nil {
			return nil, err
		}
	}
	return map[string]any{"failures": failures}, nil
}

// verify checks the signer's signatures on one object against the stored object
// that it claims to be.
func (f *foundKeys) verify(signer, target, key string, raw []byte) ([]storage.KeySignature, *httpapi.Error) {
	stored, isDevice := f.Devices[target][key]
	if !isDevice {
		for _, usage := range []string{"master", "self_signing", "user_signing"} {
			if k := f.Cross[usage][target]; k != nil && devicekeys.PublicKey(k) == key {
				stored = k
			}
		}
	}
	if stored == nil {
		return nil, httpapi.NotFound("There is no such key")
	}
	if !sameUnsigned(stored, raw) {
		return nil, httpapi.New(http.StatusBadRequest, "M_INVALID_PARAM", "The signed object isn't the one that is stored")
	}
	var good []storage.KeySignature
	var failure *httpapi.Error
	gjson.GetBytes(raw, "signatures").ForEach(func(user, signatures gjson.Result) bool {
		if user.Str != signer {
			return true
		}
		signatures.ForEach(func(keyID, signature gjson.Result) bool {
			public := f.publicKeyOf(signer, target, keyID.Str)
			if !verifyWith(raw, signer, keyID.Str, public) {
				failure = httpapi.New(http.StatusBadRequest, "M_INVALID_SIGNATURE", "The signature by %s doesn't verify", keyID.Str)
				return false
			}
			good = append(good, storage.KeySignature{SignerID: signer, SignerKey: keyID.Str, TargetID: target, TargetKey: key, Signature: signature.Str})
			return true
		})
		return false
	})
	if failure == nil && len(good) == 0 {
		failure = httpapi.New(http.StatusBadRequest, "M_INVALID_SIGNATURE", "There is no signature of yours")
	}
	return good, failure
}

// publicKeyOf finds the signer's key with the id: a device's, the self-signing key
// for own devices, the user-signing key for others' master keys.
func (f *foundKeys) publicKeyOf(signer, target, keyID string) string {
	name := strings.TrimPrefix(keyID, "ed25519:")
	if raw, ok := f.Devices[signer][name]; ok && signer == target {
		return gjson.GetBytes(raw, "keys").Map()[keyID].Str
	}
	usage := "user_signing"
	if signer == target {
		usage = "self_signing"
	}
	if k := f.Cross[usage][signer]; k != nil && devicekeys.PublicKey(k) == name {
		return name
	}
	if k := f.Cross["master"][signer]; k != nil && signer == target && devicekeys.PublicKey(k) == name {
		return name
	}
	return ""
}

func verifyWith(raw []byte, signer, keyID, public string) bool {
	key, err := decodeKey(public)
	if err != nil || len(key) != ed25519.PublicKeySize {
		return false
	}
	return gomatrixserverlib.VerifyJSON(signer, gomatrixserverlib.KeyID(keyID), key, raw) == nil
}

// sameUnsigned reports whether two signed objects say the same.
func sameUnsigned(a, b []byte) bool {
	bare := func(raw []byte) []byte {
		raw = bytes.Clone(raw)
		for _, member := range []string{"signatures", "unsigned"} {
			if shorter, err := sjson.DeleteBytes(raw, member); err == nil {
				raw = shorter
			}
		}
		canonical, err := canonicaljson.Append(nil, raw)
		if err != nil {
			return nil
		}
		return canonical
	}
	x := bare(a)
	return x != nil && bytes.Equal(x, bare(b))
}

// crossSigning stands for the cross-signing keys among the devices that have changed.
const crossSigning = ""

// deviceListChanged tells those who share a room with the user that the given devices,
// or the cross-signing keys, have changed. Without any it tells of devices that came or
// went.
func (a *API) deviceListChanged(ctx context.Context, userID string, devices ...string) error {
	var changes []storage.DeviceListChange
	if len(devices) == 0 {
		var err error
		if changes, err = a.db.UnannouncedDevices(ctx, userID); err != nil {
			return err
		}
	}
	local := userid.IsLocal(userID, a.serverName)
	for _, id := range devices {
		changes = append(changes, storage.DeviceListChange{UserID: userID, DeviceID: id, Announce: local})
	}
	if len(changes) == 0 {
		changes = []storage.DeviceListChange{{UserID: userID}}
	}
	return a.db.Stream.Append(ctx, &storage.Change{DeviceLists: changes})
}
