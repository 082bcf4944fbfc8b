package client

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"
)

// SignedRequest is the object whose signature authenticates a request.
//
// https://spec.matrix.org/v1.19/server-server-api/#request-authentication
type SignedRequest struct {
	Content     json.RawMessage `json:"content,omitempty"`
	Destination string          `json:"destination,omitempty"`
	// DestinationIs takes the place of Destination in requests to identity servers.
	DestinationIs string `json:"destination_is,omitempty"`
	Method        string `json:"method"`
	Origin        string `json:"origin"`
	URI           string `json:"uri"`
}

// Sign signs a request as its origin and returns its Authorization header.
func Sign(r SignedRequest, keyID string, key ed25519.PrivateKey) (string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("signing a request: %w", err)
	}
	signed, err := gomatrixserverlib.SignJSON(r.Origin, gomatrixserverlib.KeyID(keyID), key, text)
	if err != nil {
		return "", fmt.Errorf("signing a request: %w", err)
	}
	signature := gjson.GetBytes(signed, "signatures."+gjson.Escape(r.Origin)+"."+gjson.Escape(keyID)).Str
	return fmt.Sprintf(`X-Matrix origin="%s",destination="%s",key="%s",sig="%s"`,
		r.Origin, r.Destination+r.DestinationIs, keyID, signature), nil
}

// SignJSON adds this server's signature to an object, which is returned in
// canonical form.
func (c *Client) SignJSON(object []byte) ([]byte, error) {
	signed, err := gomatrixserverlib.SignJSON(c.o.ServerName, gomatrixserverlib.KeyID(c.o.KeyID), c.o.PrivateKey, object)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return signed, nil
}

// Authorization is a parsed Authorization header of the scheme X-Matrix.
type Authorization struct{ Origin, Destination, Key, Signature string }

// ParseAuthorization reads a header such as X-Matrix origin="a",key="b",sig="c". ok is
// false if it is of another scheme or malformed. Names are case-insensitive, values
// may be quoted, and members that nobody knows are skipped.
func ParseAuthorization(header string) (a Authorization, ok bool) {
	scheme, rest, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "X-Matrix") {
		return a, false
	}
	for {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return a, a.Origin != "" && a.Key != "" && a.Signature != ""
		}
		name, after, found := strings.Cut(rest, "=")
		if !found {
			return a, false
		}
		var value string
		value, rest, found = headerValue(strings.TrimLeft(after, " \t"))
		if !found {
			return a, false
		}
		field := map[string]*string{"origin": &a.Origin, "destination": &a.Destination, "key": &a.Key, "sig": &a.Signature}[strings.ToLower(strings.TrimSpace(name))]
		if field == nil {
			continue
		}
		if *field != "" {
			return a, false // said twice
		}
		*field = value
	}
}

// headerValue takes a token or a quoted string off the front of s.
func headerValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		if i := strings.IndexAny(s, ", \t"); i >= 0 {
			return s[:i], s[i:], true
		}
		return s, "", true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
