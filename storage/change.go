package storage

import "errors"

// ErrOvertaken is the result of a room change that was built on a version of
// the room that is no longer the newest: reload the room and build it again.
var ErrOvertaken = errors.New("the room has moved on")

// ErrClosed is the result of appending to a stream that is shutting down.
var ErrClosed = errors.New("the stream is closed")

// DuplicateTxnError is the result of a room change whose transaction id was used
// before; EventID is what it made then.
type DuplicateTxnError struct{ EventID string }

func (e *DuplicateTxnError) Error() string {
	return "transaction id already used for " + e.EventID
}

// Change is what one caller appends to the stream: all of it or nothing. The
// stream fills in the positions. It must not be modified after Append.
type Change struct {
	Room        *RoomChange
	Receipts    []Receipt
	AccountData []AccountData
	Presence    []Presence
	ToDevice    []ToDevice
	// RemoteToDevice are messages to devices of other servers' users.
	RemoteToDevice []RemoteToDevice
	// ToDeviceTxn, unless nil, names the request that the messages to devices came with: if
	// one of that name was written before, they aren't again.
	ToDeviceTxn *[16]byte
	DeviceLists []DeviceListChange
	Handovers   []Handover
	// ThreadSubscriptions are what users say of threads.
	ThreadSubscriptions []ThreadSubscription
	// Forgets tells followers of rooms that users have forgotten.
	Forgets []Forget
}

// Forget is a room that a user who left it wants to hear of no more.
type Forget struct {
	RoomNID int64
	UserID  string
}

// RoomChange is what happens to one room.
type RoomChange struct {
	// Room is the room's row after the change. LatestPosition is filled in.
	Room Room
	// ExpectedVersion is the row's version that the change was built on; 0 makes the
	// room.
	ExpectedVersion int64
	// Events are appended to the timeline in this order; outliers get no place.
	Events []*Event
	// Placed are the numbers of those events that are stored already, as outliers.
	Placed      map[int64]bool
	Snapshots   []Snapshot
	State       []StateChange
	Memberships []Membership
	// Redactions are the redacted forms, RedactedBy set, of events stored before.
	Redactions        []*Event
	PendingRedactions []PendingRedaction
	// Gaps are before which of the events others are missing.
	Gaps       []Gap
	Highlights []Highlight
	// Exceptions are for whom an event counts otherwise than Notifies and Highlights say.
	Exceptions []Exception
	// Aliases are made to point to the room; one that is taken fails the change
	// with an error that IsUniqueViolation.
	Aliases []Alias
	// InviteStates came with invitations to a room that this server isn't in.
	InviteStates []InviteState
	// Publish puts the room into the directory.
	Publish bool
	// SuccessorNID, if not 0, is a room that the aliases and the place in the directory
	// go to.
	SuccessorNID int64
	// PartialChanged has the room's Partial written.
	PartialChanged bool
	// Completed makes all members of a room known: the change has a position of its own,
	// behind those of its events, Position.
	Completed bool
	Position  Position
	offset    int64
	// Stuck are sticky events of the room's past, of which clients are told as of a position of
	// its own, their StickyAt.
	Stuck []*Event
	// JudgedAnew are events stored before, whose state, flags and what they replace change.
	JudgedAnew []*Event
	// Summary, if not nil, replaces the room's directory entry.
	Summary *RoomSummary
	// StateAfter is the room's state after the change, for followers.
	StateAfter StateMap
}

// RoomSummary is what the room directory shows of a room. Counts are of joined
// and invited members.
type RoomSummary struct {
	Name, Topic, CanonicalAlias, AvatarURL string
	JoinRule, RoomType, HistoryVisibility  string
	GuestCanJoin                           bool
	Encryption                             string
	JoinedMembers, InvitedMembers          int
}

// rows is how many positions the change draws.
func (c *Change) rows() int {
	n := c.userRows()
	if c.Room != nil {
		n += len(c.Room.Events) + len(c.Room.Stuck) + 1 // for what is completed
	}
	return n
}

// userRows is how many positions what users did draws, apart from rooms.
func (c *Change) userRows() int {
	return len(c.Receipts) + len(c.AccountData) + len(c.Presence) + len(c.ToDevice) + len(c.RemoteToDevice) + len(c.DeviceLists) + len(c.Handovers) + len(c.ThreadSubscriptions)
}

// Batch is a run of changes that was committed together. Changes that failed
// aren't in it. Positions up to and including Position are now visible.
type Batch struct {
	Position Position
	Changes  []*Change
}
