package roomserver

import (
	"bytes"
	"crypto/ed25519"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/matrix-org/gomatrixserverlib/spec"

	"hearth/internal/canonicaljson"
)

// FuzzPlainEvent holds the fast way to build an event against the library: it
// must accept the hash and the signature, compute the same id, and write the same
// bytes.
func FuzzPlainEvent(f *testing.F) {
	f.Add([]byte(`{"msgtype":"m.text","body":"héllo\n\"😀\""}`), "m.room.message", "@a:test.local")
	f.Add([]byte(`{}`), "org.example.\u2028<&>", "@ü:test.local")
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	f.Fuzz(func(t *testing.T, content []byte, typ, sender string) {
		canonical, err := canonicaljson.Append(nil, content)
		if err != nil || len(canonical) > 40_000 || canonical[0] != '{' || !utf8.ValidString(typ+sender) {
			return
		}
		for _, number := range []string{"6", "10", "11", "12"} {
			version := gomatrixserverlib.MustGetRoomVersion(gomatrixserverlib.RoomVersion(number))
			b := builder{rm: &room{version: version}}
			if !b.isPlain(&newEvent{Type: typ}) {
				return
			}
			room := "!abc:test.local"
			if version.DomainlessRoomIDs() {
				room = "!V9mEEf2EdYNCT-sIUcSRIb3wqP84KvLDxN4PZIwg8VY"
			}
			p := plainEvent{room: room, sender: sender, typ: typ, content: canonical, auth: []string{"$a", "$b"},
				prev: []string{"$c"}, depth: 7, ts: time.Now().UnixMilli()}
			json, id := p.sign("test.local", "ed25519:k", key)
			pdu, err := version.NewEventFromUntrustedJSON(json)
			if err != nil {
				return // a sender or type that isn't allowed, which the API refuses before
			}
			if pdu.EventID() != id || pdu.Redacted() || !bytes.Equal(pdu.JSON(), json) {
				t.Fatalf("version %s: %s became %s, id %s, not %s", number, json, pdu.JSON(), pdu.EventID(), id)
			}
			redacted, err := version.RedactEventJSON(json)
			if err != nil {
				t.Fatal(err)
			}
			public := key.Public().(ed25519.PublicKey)
			if err := gomatrixserverlib.VerifyJSON("test.local", "ed25519:k", public, redacted); err != nil {
				t.Fatalf("version %s: %v", number, err)
			}
			if string(pdu.SenderID()) != sender || pdu.Type() != typ || pdu.OriginServerTS() != spec.Timestamp(p.ts) {
				t.Fatalf("version %s: %s was read as %s", number, json, pdu.JSON())
			}
		}
	})
}
