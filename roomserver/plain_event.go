package roomserver

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"strconv"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/canonicaljson"
	"hearth/internal/httpapi"
	"hearth/storage"
)

// Most events are plain: no state, and nothing of their content survives a
// redaction. They are built here in one pass over the bytes, which takes a
// fraction of the library's time; a test holds the two against each other.

// maxEventBytes bounds an event.
//
// https://spec.matrix.org/v1.19/client-server-api/#size-limits
const maxEventBytes = 65536

// isPlain reports whether the event can be built and authorised without the
// library.
func (b *builder) isPlain(n *newEvent) bool {
	if n.StateKey != nil || n.Redacts != "" || !strictJSON(b.rm.version) {
		return false
	}
	switch n.Type {
	case "m.room.create", "m.room.member", "m.room.aliases", "m.room.power_levels", "m.room.join_rules",
		"m.room.history_visibility", "m.room.third_party_invite", "m.room.redaction":
		return false
	}
	return true
}

// strictJSON reports whether the version demands canonical JSON: from 6 on.
func strictJSON(v gomatrixserverlib.IRoomVersion) bool { return versionNumber(v) >= 6 }

// versionNumber is the number of a stable room version.
func versionNumber(v gomatrixserverlib.IRoomVersion) int {
	n, err := strconv.Atoi(string(v.Version()))
	if err != nil {
		return 0
	}
	return n
}

// plainEvent is what a plain event consists of.
type plainEvent struct {
	room, sender, typ string
	content           []byte // canonical
	auth, prev        []string
	depth, ts         int64
	sticky            *int64 // for how many milliseconds, nil for no sticky event
}

// appendHead appends everything before content's end: with an empty object for
// content it is the redacted form.
func (p *plainEvent) appendHead(b, content []byte) []byte {
	b = append(b, `{"auth_events":`...)
	b = appendStrings(b, p.auth)
	b = append(append(b, `,"content":`...), content...)
	b = append(b, `,"depth":`...)
	return strconv.AppendInt(b, p.depth, 10)
}

// appendMiddle appends from origin_server_ts to sender.
func (p *plainEvent) appendMiddle(b []byte) []byte {
	b = append(b, `,"origin_server_ts":`...)
	b = strconv.AppendInt(b, p.ts, 10)
	b = append(b, `,"prev_events":`...)
	b = appendStrings(b, p.prev)
	b = append(b, `,"room_id":`...)
	b = canonicaljson.AppendString(b, p.room)
	b = append(b, `,"sender":`...)
	return canonicaljson.AppendString(b, p.sender)
}

// appendSticky appends what a redaction takes away beside the content.
func (p *plainEvent) appendSticky(b []byte) []byte {
	if p.sticky == nil {
		return b
	}
	b = append(b, `,"`+stickyField+`":{"duration_ms":`...)
	return append(strconv.AppendInt(b, *p.sticky, 10), '}')
}

func (p *plainEvent) appendType(b []byte) []byte {
	b = append(b, `,"type":`...)
	return append(canonicaljson.AppendString(b, p.typ), '}')
}

func appendHashes(b []byte, sum [sha256.Size]byte) []byte {
	b = append(b, `,"hashes":{"sha256":"`...)
	b = base64.RawStdEncoding.AppendEncode(b, sum[:])
	return append(b, `"}`...)
}

// sign hashes and signs the event and returns its canonical JSON and its id.
//
// https://spec.matrix.org/v1.19/server-server-api/#adding-hashes-and-signatures-to-outgoing-events
func (p *plainEvent) sign(serverName, keyID string, key ed25519.PrivateKey) (json []byte, id string) {
	size := len(p.content) + 800
	// The content hash covers the event without hashes and signatures.
	b := p.appendType(p.appendMiddle(p.appendSticky(p.appendHead(make([]byte, 0, size), p.content))))
	hash := sha256.Sum256(b)
	// The signature and the event's id cover its redacted form with the hash.
	b = appendHashes(p.appendHead(b[:0], []byte("{}")), hash)
	b = p.appendType(p.appendMiddle(b))
	signature := ed25519.Sign(key, b)
	reference := sha256.Sum256(b)

	b = appendHashes(p.appendHead(make([]byte, 0, size), p.content), hash)
	b = p.appendMiddle(p.appendSticky(b))
	b = append(b, `,"signatures":{`...)
	b = canonicaljson.AppendString(b, serverName)
	b = append(b, ':', '{')
	b = canonicaljson.AppendString(b, keyID)
	b = append(b, ':', '"')
	b = base64.RawStdEncoding.AppendEncode(b, signature)
	b = append(b, `"}}`...)
	return p.appendType(b), "$" + base64.RawURLEncoding.EncodeToString(reference[:])
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = canonicaljson.AppendString(b, s)
	}
	return append(b, ']')
}

// addPlain builds and authorises a plain event.
func (b *builder) addPlain(n newEvent) (*storage.Event, error) {
	rules, err := b.rules()
	if err != nil {
		return nil, err
	}
	if err := rules.allowPlain(b, &n); err != nil {
		return nil, err
	}
	p := plainEvent{
		room: b.head.row.ID, sender: n.Sender, typ: n.Type, content: n.Content, auth: b.plainAuthEvents(n.Sender),
		prev: b.newest(), depth: nextDepth(b.rm.version, b.head.row.Depth), ts: n.TS.UnixMilli(), sticky: n.StickyMS,
	}
	e := &storage.Event{
		RoomID: p.room, Type: p.typ, Sender: p.sender, OriginTS: p.ts, Depth: p.depth,
		TxnKey: n.TxnKey, TxnID: n.TxnID, TxnDevice: n.DeviceID,
	}
	if n.StickyMS != nil {
		e.StickyUntil = endOfSticky(p.ts, *n.StickyMS)
	}
	e.JSON, e.ID = p.sign(b.s.o.ServerName, b.s.o.KeyID, b.s.o.PrivateKey)
	if len(e.JSON) > maxEventBytes {
		return nil, httpapi.TooLarge("The event is longer than %d bytes", maxEventBytes)
	}
	return e, b.append(e, nil)
}

// plainAuthEvents are the create event (implied by the room id from version 12
// on), the power levels and the sender's membership.
//
// https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
func (b *builder) plainAuthEvents(sender string) []string {
	ids := make([]string, 0, 3)
	for _, t := range []storage.StateTuple{{Type: "m.room.create"}, {Type: "m.room.power_levels"}, {Type: "m.room.member", StateKey: sender}} {
		if t.Type == "m.room.create" && b.rm.version.DomainlessRoomIDs() {
			continue
		}
		if e, ok := b.head.state.Get(t); ok {
			ids = append(ids, e.EventID)
		}
	}
	return ids
}
