package roomserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// Sticky events are those that everybody in a room is to get for as long as they last,
// wherever they are in its timeline.
//
// https://github.com/matrix-org/matrix-spec-proposals/pull/4354

const (
	// stickyField is where an event says for how long it is sticky.
	stickyField = "msc4354_sticky"
	// maxStickyMS is for how many milliseconds an event can be sticky.
	maxStickyMS = 3_600_000
	// maxReconsidered bounds the soft-failed events that are judged anew at once.
	maxReconsidered = 1000
)

// endOfSticky is until when an event is sticky that was sent, or says so, at a time. None is
// so from a later time on than it is known.
func endOfSticky(sent, duration int64) int64 {
	return min(sent, time.Now().UnixMilli()) + min(duration, maxStickyMS)
}

// stickyUntil is until when an event is sticky that has just become known, 0 if it isn't.
func stickyUntil(event []byte, originTS int64) int64 {
	if !bytes.Contains(event, []byte(stickyField)) {
		return 0 // which most aren't
	}
	duration := gjson.GetBytes(event, stickyField+".duration_ms")
	if duration.Type != gjson.Number || duration.Num < 0 || duration.Num != math.Trunc(duration.Num) || originTS < 0 {
		return 0
	}
	return endOfSticky(originTS, duration.Int())
}

// stick makes an event sticky that was just built: the library knows no such events.
func (s *Server) stick(v gomatrixserverlib.IRoomVersion, pdu gomatrixserverlib.PDU, duration int64) (gomatrixserverlib.PDU, error) {
	text, err := sjson.SetBytes(pdu.JSON(), stickyField+".duration_ms", duration)
	for _, name := range []string{"hashes", "signatures", "unsigned"} {
		if err == nil {
			text, err = sjson.DeleteBytes(text, name)
		}
	}
	if err == nil {
		text, err = gomatrixserverlib.CanonicalJSON(text)
	}
	if err != nil {
		return nil, fmt.Errorf("making an event sticky: %w", err)
	}
	hash := sha256.Sum256(text)
	if text, err = sjson.SetBytes(text, "hashes.sha256", base64.RawStdEncoding.EncodeToString(hash[:])); err != nil {
		return nil, fmt.Errorf("making an event sticky: %w", err)
	}
	unsigned, err := v.NewEventFromTrustedJSON(text, false)
	if err != nil {
		return nil, buildError(err)
	}
	signed := unsigned.Sign(s.o.ServerName, gomatrixserverlib.KeyID(s.o.KeyID), s.o.PrivateKey)
	if len(signed.JSON()) > maxEventBytes {
		return nil, httpapi.TooLarge("The event is longer than %d bytes", maxEventBytes)
	}
	return signed, nil
}

// stick has clients told of an event that comes though it is known, if it is sticky: what was
// found in the room's past was no news to them.
func (b *builder) stick(stored *storage.Event) {
	if stored.Sub < 0 && stored.StickyAt == 0 && stored.StickyUntil > time.Now().UnixMilli() {
		told := *stored
		b.change.Stuck = append(b.change.Stuck, &told)
	}
}

// reconsiderSticky judges those sticky events of a room anew that its state didn't allow when
// they came, if a change may have made it allow them: servers must come to the same.
func (s *Server) reconsiderSticky(ctx context.Context, c *storage.RoomChange) error {
	if !mayAllowMore(c) {
		return nil
	}
	list, err := s.db.SoftFailedSticky(ctx, c.Room.NID, time.Now(), maxReconsidered)
	for _, e := range list {
		if err = errors.Join(err, s.change(ctx, e.RoomID, func(b *builder) error { return b.reconsider(e.NID) })); err != nil {
			break
		}
	}
	return err
}

// mayAllowMore reports whether events of others may be allowed after a change that weren't
// before it. Where nobody is from elsewhere there are none.
func mayAllowMore(c *storage.RoomChange) bool {
	may := len(c.Memberships) > 0
	for _, t := range c.State {
		may = may || t.Type == "m.room.power_levels"
	}
	return may && c.ExpectedVersion != 0
}

// reconsider takes an event in that was soft-failed, as one that has just come, if the room's
// state allows it now.
func (b *builder) reconsider(nid int64) error {
	if err := b.flushed(); err != nil {
		return errRetry
	}
	list, err := b.s.db.EventsByNID(b.ctx, []int64{nid})
	if err != nil || len(list) == 0 || list[0].Flags&storage.SoftFailed == 0 || list[0].StickyUntil == 0 {
		return err
	}
	stored := list[0]
	pdu, err := pduOf(b.rm.version, stored)
	if err != nil {
		return err
	}
	var refused *httpapi.Error
	if err := b.allowedBy(pdu, b.head.state); errors.As(err, &refused) {
		return nil
	} else if err != nil {
		return err
	}
	state, err := b.s.db.StateAt(b.ctx, stored.SnapshotNID)
	if err != nil {
		return err
	}
	e := *stored
	e.Flags &^= storage.SoftFailed
	e.Place = storage.Place{}
	b.change.Placed = map[int64]bool{e.NID: true}
	return b.appendBeside(&e, pdu, stateAt{state: state, snapshot: stored.SnapshotNID})
}
