package roomserver

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"
)

// Authorise applies the authorisation rules to an event by those that it names as its
// authority, or by a state. Errors are *httpapi.Error.
func Authorise(pdu gomatrixserverlib.PDU, by []gomatrixserverlib.PDU) error {
	auth, err := gomatrixserverlib.NewAuthEvents(by)
	if err != nil {
		return notAllowed(err)
	}
	return authorise(pdu, auth)
}

// IsThirdPartyInvite reports whether an event is the invitation of a user that takes the
// place of one to an address.
func IsThirdPartyInvite(pdu gomatrixserverlib.PDU) bool {
	return pdu.Type() == "m.room.member" && gjson.GetBytes(pdu.Content(), "membership").Str == "invite" &&
		gjson.GetBytes(pdu.Content(), "third_party_invite").Exists()
}

// ThirdPartyKey is a key of an invitation to an address.
type ThirdPartyKey struct {
	// Key is as the invitation writes it.
	Key string
	// ValidityURL is where it can be checked; "" for a key that is good for ever.
	ValidityURL string
}

// maxThirdPartyKeys and maxThirdPartySignatures bound the work on one invitation.
const maxThirdPartyKeys, maxThirdPartySignatures = 20, 20

// ThirdPartyKeys returns those keys of an invitation to an address, the content of an
// m.room.third_party_invite, with which the object is signed.
func ThirdPartyKeys(content, signed gjson.Result) (good []ThirdPartyKey) {
	message, signatures := signedMessage(signed)
	if message == nil {
		return nil
	}
	keys := append([]gjson.Result{content}, content.Get("public_keys").Array()...)
	for _, k := range keys[:min(len(keys), maxThirdPartyKeys)] {
		key := ThirdPartyKey{k.Get("public_key").Str, k.Get("key_validity_url").Str}
		raw := fromBase64(key.Key)
		for _, signature := range signatures {
			if len(raw) == ed25519.PublicKeySize && ed25519.Verify(raw, message, signature) {
				good = append(good, key)
				break
			}
		}
	}
	return good
}

// signedMessage is what the signatures of a signed object cover, and the signatures.
func signedMessage(signed gjson.Result) (message []byte, signatures [][]byte) {
	var object map[string]json.RawMessage
	if json.Unmarshal([]byte(signed.Raw), &object) != nil {
		return nil, nil
	}
	delete(object, "signatures")
	delete(object, "unsigned")
	text, err := json.Marshal(object)
	if err != nil {
		return nil, nil
	}
	if message, err = gomatrixserverlib.CanonicalJSON(text); err != nil {
		return nil, nil
	}
	signed.Get("signatures").ForEach(func(_, byKey gjson.Result) bool {
		byKey.ForEach(func(id, signature gjson.Result) bool {
			if raw := fromBase64(signature.Str); strings.HasPrefix(id.Str, "ed25519") && len(raw) == ed25519.SignatureSize {
				signatures = append(signatures, raw)
			}
			return len(signatures) < maxThirdPartySignatures
		})
		return len(signatures) < maxThirdPartySignatures
	})
	return message, signatures
}

// fromBase64 reads either alphabet, with or without padding; nil for what is neither.
func fromBase64(text string) []byte {
	text = strings.TrimRight(text, "=")
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(text, "-_") {
		encoding = base64.RawURLEncoding
	}
	raw, err := encoding.DecodeString(text)
	if err != nil {
		return nil
	}
	return raw
}
