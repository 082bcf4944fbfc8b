// Package token reads and writes the opaque tokens that tell where a client
// stands: in its /sync, and in a room's timeline.
package token

import (
	"errors"
	"math"
	"strconv"
	"strings"

	"hearth/storage"
)

// ErrInvalid is returned for text that isn't a token of this server's.
var ErrInvalid = errors.New("not a valid token")

// Sync is where a client's /sync stands: s<position>_<typing serial>, and
// _<to-device position>_<sticky position> when messages to the device or sticky events remain.
type Sync struct {
	Position storage.Position
	// Typing is the serial of the newest typing notification; it grows over restarts.
	Typing int64
	// ToDevice is how far the messages to the device were delivered: Position, unless
	// there were too many for one answer.
	ToDevice storage.Position
	// Sticky is how far sticky events were told: Position, unless there were too many.
	Sticky storage.Position
}

// SyncAt is where everything is known up to a position.
func SyncAt(p storage.Position, typing int64) Sync {
	return Sync{Position: p, Typing: typing, ToDevice: p, Sticky: p}
}

// ParseSync reads what Sync.String has written, or returns ErrInvalid.
func ParseSync(s string) (t Sync, err error) {
	rest := ""
	if parts := strings.SplitN(s, "_", 3); len(parts) == 3 {
		s, rest = parts[0]+"_"+parts[1], parts[2]
	}
	if t.Position, t.Typing, err = parse(s, 's'); err != nil {
		return Sync{}, err
	}
	t = SyncAt(t.Position, t.Typing)
	if rest == "" {
		return t, nil
	}
	toDevice, sticky, both := strings.Cut(rest, "_")
	if t.ToDevice, err = parseUpTo(toDevice, t.Position); err == nil && both {
		t.Sticky, err = parseUpTo(sticky, t.Position)
	}
	if err != nil {
		return Sync{}, err
	}
	return t, nil
}

// parseUpTo reads a position that isn't after another.
func parseUpTo(s string, most storage.Position) (storage.Position, error) {
	p, err := strconv.ParseInt(s, 10, 64)
	if err != nil || p < 0 || p > most {
		return 0, ErrInvalid
	}
	return p, nil
}

// String implements fmt.Stringer.
func (t Sync) String() string { return string(t.Append(nil)) }

// Append appends the token's text to b.
func (t Sync) Append(b []byte) []byte {
	b = appendToken(b, 's', t.Position, t.Typing)
	if t.ToDevice != t.Position || t.Sticky != t.Position {
		b = strconv.AppendInt(append(b, '_'), t.ToDevice, 10)
	}
	if t.Sticky != t.Position {
		b = strconv.AppendInt(append(b, '_'), t.Sticky, 10)
	}
	return b
}

// Gap is a point of a room's timeline, between two events: t<position>_<sub>.
// Going backwards from it come the events at or before After, going forwards
// those behind After.
type Gap struct{ After storage.Place }

// Before is the gap just before the event at p: what precedes it, also if it is
// only backfilled later, is on the near side.
func Before(p storage.Place) Gap {
	return Gap{storage.Place{Position: p.Position, Sub: p.Sub - 1}}
}

// After is the gap just after the event at p.
func After(p storage.Place) Gap { return Gap{p} }

// ParseGap reads what Gap.String has written. It takes a /sync token as well, or the pos of
// sliding sync, which begins with p and its position: the gap after everything that sync
// had seen.
func ParseGap(s string) (Gap, error) {
	if strings.HasPrefix(s, "p") {
		fields := strings.SplitN(s, "_", 3)
		if len(fields) < 3 {
			return Gap{}, ErrInvalid
		}
		position, _, err := parse(fields[0]+"_"+fields[1], 'p')
		return Gap{storage.Place{Position: position}}, err
	}
	if strings.HasPrefix(s, "s") {
		t, err := ParseSync(s)
		return Gap{storage.Place{Position: t.Position}}, err
	}
	position, sub, err := parse(s, 't')
	if err != nil || sub < math.MinInt32 || sub >= math.MaxInt32 {
		return Gap{}, ErrInvalid
	}
	return Gap{storage.Place{Position: position, Sub: int32(sub)}}, nil
}

// Next is the first place behind the gap: what storage.DB.TimelineBefore wants as
// its exclusive end, as TimelineAfter wants After as its exclusive beginning.
func (g Gap) Next() storage.Place {
	return storage.Place{Position: g.After.Position, Sub: g.After.Sub + 1}
}

// String implements fmt.Stringer.
func (g Gap) String() string { return string(g.Append(nil)) }

// Append appends the token's text to b.
func (g Gap) Append(b []byte) []byte {
	return appendToken(b, 't', g.After.Position, int64(g.After.Sub))
}

func parse(s string, kind byte) (position, second int64, err error) {
	if len(s) == 0 || s[0] != kind {
		return 0, 0, ErrInvalid
	}
	first, rest, ok := strings.Cut(s[1:], "_")
	position, err = strconv.ParseInt(first, 10, 64)
	if !ok || err != nil || position < 0 {
		return 0, 0, ErrInvalid
	}
	if second, err = strconv.ParseInt(rest, 10, 64); err != nil {
		return 0, 0, ErrInvalid
	}
	return position, second, nil
}

func appendToken(b []byte, kind byte, position, second int64) []byte {
	b = append(b, kind)
	b = strconv.AppendInt(b, position, 10)
	b = append(b, '_')
	return strconv.AppendInt(b, second, 10)
}
