package storage

import (
	"github.com/benbjohnson/immutable"
)

// Position is a place in the stream, drawn when the row was written. 0 is before
// everything.
type Position = int64

// Place is an event's place in the timeline: a live event is (p, 0), an event
// backfilled before the one at p is (p, -1), (p, -2) … going back in time.
type Place struct {
	Position Position
	Sub      int32
}

// Before reports whether p comes before q in the timeline.
func (p Place) Before(q Place) bool {
	return p.Position < q.Position || p.Position == q.Position && p.Sub < q.Sub
}

// EventFlags say what became of an event.
type EventFlags int16

const (
	// Outlier marks an event that is known but has no place in the timeline.
	Outlier EventFlags = 1 << iota
	// Rejected marks an event that its own auth events don't allow.
	Rejected
	// SoftFailed marks an event that the current state didn't allow when it came.
	SoftFailed
	// PassedOn marks an accepted event, mostly of another server's, that came to this one alone,
	// which sends it to all others in the room.
	PassedOn
	// Relayed marks an event of this server's users that another server was given, which
	// sends it to all others in the room: a join by way of that server.
	Relayed
	// Presumed marks an event that was judged while not all of the room's members were known;
	// the state before it lacks some.
	Presumed
)

// Accepted reports whether the event counts: it is no outlier, and was neither rejected
// nor soft-failed.
func (e *Event) Accepted() bool { return e.Flags&(Outlier|Rejected|SoftFailed) == 0 }

// Event is one stored event. Once it has been handed to the stream or read from
// the database it isn't changed again: a redaction makes a new value.
type Event struct {
	NID     int64
	RoomNID int64
	// RoomID is not stored with the event; readers fill it in from the room.
	RoomID string
	Place
	ID       string
	Type     string
	StateKey *string
	Sender   string
	OriginTS int64 // milliseconds since 1970
	Depth    int64
	// SnapshotNID is the room's state before the event.
	SnapshotNID int64
	// ReplacesNID is the event that had this (type, state_key) before; 0 for none.
	ReplacesNID int64
	Flags       EventFlags
	// Notifies is whether the default push rules count it as unread.
	Notifies   bool
	RedactedBy string
	// StickyUntil is until when the event is sticky, in milliseconds since 1970; 0 for never.
	StickyUntil int64
	// StickyAt is as of when clients are told of a sticky event that lies in the room's past;
	// 0 for others, and until then.
	StickyAt Position
	// TxnKey makes a repeated request find its event; TxnDevice and TxnID are shown
	// to the device that sent it. All are empty for events not sent with one.
	TxnKey    [16]byte
	TxnDevice string
	TxnID     string
	// JSON is the event as a PDU, in canonical form.
	JSON []byte
}

// IsState reports whether e is a state event.
func (e *Event) IsState() bool { return e.StateKey != nil }

// StateTuple names one piece of a room's state.
type StateTuple struct {
	Type     string
	StateKey string
}

// StateEntry is the event that holds a piece of state. Membership is set for
// m.room.member events.
type StateEntry struct {
	EventNID   int64
	EventID    string
	Membership string
}

// StateMap is a room's state. It is immutable: a change makes a new map that
// shares what didn't change.
type StateMap = *immutable.Map[StateTuple, StateEntry]

type tupleHasher struct{}

// Hash is FNV-1a over both parts.
func (tupleHasher) Hash(t StateTuple) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(t.Type); i++ {
		h = (h ^ uint32(t.Type[i])) * 16777619
	}
	h *= 16777619
	for i := 0; i < len(t.StateKey); i++ {
		h = (h ^ uint32(t.StateKey[i])) * 16777619
	}
	return h
}

func (tupleHasher) Equal(a, b StateTuple) bool { return a == b }

// NewStateMap returns an empty state.
func NewStateMap() StateMap {
	return immutable.NewMap[StateTuple, StateEntry](tupleHasher{})
}

// NewStateMapBuilder returns a builder for reading a whole state at once.
func NewStateMapBuilder() *immutable.MapBuilder[StateTuple, StateEntry] {
	return immutable.NewMapBuilder[StateTuple, StateEntry](tupleHasher{})
}

// Room is a room's row.
type Room struct {
	NID         int64
	ID          string
	RoomVersion string
	// Version grows with each change, by a number drawn for that. A count would not do:
	// what was built on a change that failed could meet the same count again.
	Version            int64
	LatestPosition     Position
	Depth              int64
	ForwardExtremities []string
	SnapshotNID        int64
	// Partial, unless nil, says that the room was joined before its members were known.
	Partial *Partial
}

// Snapshot is a row of the chain of state deltas; see migrations/0001_stream.sql.
type Snapshot struct {
	NID       int64
	ParentNID int64 // 0 for none
	Depth     int64
	EventNIDs []int64
}

// StateChange makes an event current for a piece of state; an EventNID of 0
// removes the piece, which only state resolution does.
type StateChange struct {
	StateTuple
	StateEntry
	// Event is the index in RoomChange.Events of the event that made it current. Behind the
	// last it stands for a change that is completed.
	Event int
}

// Membership is a user's latest membership of a room.
type Membership struct {
	RoomNID    int64
	RoomID     string
	UserID     string
	Sender     string
	Membership string
	EventNID   int64
	Position   Position
	Forgotten  bool
}

// Highlight marks an event as a mention of UserID, or of everyone if empty.
type Highlight struct {
	UserID string
	// Event is the index in RoomChange.Events.
	Event int
}

// Exception is what an event means to a user whose own push rules say otherwise than
// the default ones.
type Exception struct {
	UserID string
	// Event is the index in RoomChange.Events.
	Event                int
	Notifies, Highlights bool
}

// Receipt says how far a user has read.
type Receipt struct {
	Position Position
	RoomNID  int64
	RoomID   string
	UserID   string
	Type     string
	ThreadID string // "" is unthreaded
	EventID  string
	// EventPosition is the place of EventID in the timeline.
	EventPosition Position
	TS            int64 // milliseconds since 1970
}

// AccountData is a piece of a user's account data; RoomID is "" for global.
type AccountData struct {
	Position Position
	UserID   string
	RoomID   string
	Type     string
	Content  []byte
}

// Presence is what a user last told of being there.
type Presence struct {
	Position     Position
	UserID       string
	State        string // online, unavailable or offline
	StatusMsg    string
	LastActiveTS int64 // milliseconds since 1970
	// Rooms are the rooms of a user of another server, whom followers don't know. They
	// aren't stored.
	Rooms []int64
}
