package httpapi

import (
	"sync/atomic"
	"time"
)

// Requester is the authenticated user behind a request. One value may serve many
// requests at once.
type Requester struct {
	UserID   string
	DeviceID string
	// TokenID identifies the access token within storage.
	TokenID int64
	Admin   bool
	// Guest, Locked and Suspended keep the user from some routes or all; see
	// accountstates.go.
	Guest     bool
	Locked    bool
	Suspended bool
	// GoodUntil is until when who asks for what tells nothing needs no look whether the
	// token still holds, unless Retire is called before.
	GoodUntil time.Time

	retired atomic.Bool
	// seenAt is when Options.Seen was last told, in Unix seconds.
	seenAt atomic.Int64
}

// Retire has requests that wait look for whom they are anew.
func (u *Requester) Retire() { u.retired.Store(true) }

func (u *Requester) current(now time.Time) bool {
	return now.Before(u.GoodUntil) && !u.retired.Load()
}

// SeenInterval is how often Options.Seen is told of the same Requester.
const SeenInterval = time.Minute

// seenAnew reports whether Options.Seen is to be told, which it then must be.
func (u *Requester) seenAnew(now time.Time) bool {
	last := u.seenAt.Load()
	return now.Unix()-last >= int64(SeenInterval/time.Second) && u.seenAt.CompareAndSwap(last, now.Unix())
}
