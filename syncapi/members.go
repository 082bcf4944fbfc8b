package syncapi

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
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

type deviceMembers struct {
	mu   sync.Mutex
	sent map[memberKey]int64 // the member event's number
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

// of returns what the device was sent; a first sync begins anew.
func (s *sentMembers) of(userID, deviceID string, anew bool) *deviceMembers {
	key := userID + "\x00" + deviceID
	d, ok := s.devices.Get(key)
	if !ok || anew {
		d = &deviceMembers{sent: map[memberKey]int64{}}
		s.devices.Add(key, d)
	}
	return d
}

// add notes that a member event is sent, and reports whether it wasn't before.
func (d *deviceMembers) add(room int64, user string, event int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	k := memberKey{room, user}
	if d.sent[k] == event {
		return false
	}
	if len(d.sent) >= maxSentMembers {
		clear(d.sent)
	}
	d.sent[k] = event
	return true
}
