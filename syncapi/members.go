package syncapi

import (
	"maps"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"hearth/storage"
)

const (
	// maxSentDevices and maxSentMembers bound what is remembered of members that
	// clients were sent; what is forgotten is sent again.
	maxSentDevices = 5000
	maxSentMembers = 20_000
)

// sentMembers remembers, per device, which member events lazy loading has sent.
type sentMembers struct {
	devices *lru.Cache[string, *deviceMembers]
}

// deviceMembers are the numbers of the member events that a device was sent: what it surely has, and
// what the newest answer adds, whose token is at a position. If the client asks again from before
// that, it hasn't had it.
type deviceMembers struct {
	mu           sync.Mutex
	sent, latest map[memberKey]int64
	latestAt     storage.Position
}

type memberKey struct {
	room int64
	user string
}

func newSentMembers() *sentMembers {
	devices, err := lru.New[string, *deviceMembers](maxSentDevices)
	if err != nil {
		panic(err) // only for a size that isn't positive
	}
	return &sentMembers{devices: devices}
}

// of returns what the device was sent, for an answer after since, whose token is at a position; a
// first sync begins anew.
func (s *sentMembers) of(userID, deviceID string, anew bool, since, at storage.Position) *deviceMembers {
	key := userID + "\x00" + deviceID
	d, ok := s.devices.Get(key)
	if !ok || anew {
		d = &deviceMembers{sent: map[memberKey]int64{}}
		s.devices.Add(key, d)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.latest) > 0 && since >= d.latestAt {
		if len(d.sent)+len(d.latest) > maxSentMembers {
			clear(d.sent)
		}
		maps.Copy(d.sent, d.latest)
	}
	d.latest, d.latestAt = map[memberKey]int64{}, at
	return d
}

// add notes that a member event is sent, and reports whether it wasn't before.
func (d *deviceMembers) add(room int64, user string, event int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := memberKey{room, user}
	if d.sent[k] == event || d.latest[k] == event {
		return false
	}
	if len(d.latest) < maxSentMembers {
		d.latest[k] = event
	}
	return true
}
