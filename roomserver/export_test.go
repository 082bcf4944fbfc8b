package roomserver

import (
	"crypto/ed25519"
	"time"

	"hearth/internal/canonicaljson"
	"hearth/storage"
)

// BuildMessage builds and signs a message on top of a room's row, with nothing
// checked: what the floor of BenchmarkHTTPSend consists of.
func BuildMessage(row *storage.Room, sender string, auth []string, content []byte, serverName, keyID string, key ed25519.PrivateKey) (*storage.Event, error) {
	canonical, err := canonicaljson.Append(nil, content)
	if err != nil {
		return nil, err
	}
	p := plainEvent{room: row.ID, sender: sender, typ: "m.room.message", content: canonical, auth: auth,
		prev: row.ForwardExtremities, depth: row.Depth + 1, ts: time.Now().UnixMilli()}
	e := &storage.Event{RoomID: p.room, RoomNID: row.NID, Type: p.typ, Sender: p.sender, OriginTS: p.ts, Depth: p.depth,
		SnapshotNID: row.SnapshotNID, Notifies: true}
	e.JSON, e.ID = p.sign(serverName, keyID, key)
	return e, nil
}
