package roomserver

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/matrix-org/gomatrixserverlib"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// NewRoomRequest is a room to be made: its create event and the events that
// follow, in order.
type NewRoomRequest struct {
	Creator string
	// Version is the room version, "" for the server's default.
	Version string
	// CreateContent is the content of m.room.create without room_version and creator.
	CreateContent map[string]any
	Events        []InitialEvent
	// Aliases are made to point to the room, and Publish puts it into the directory,
	// in the same change.
	Aliases []storage.Alias
	Publish bool
}

// InitialEvent is one of a new room's first events; all are sent by the creator.
type InitialEvent struct {
	Type     string
	StateKey *string
	Content  any
}

// NewRoom makes a room and appends all of its first events as one change: the
// room is there whole or not at all. Errors are *httpapi.Error:
// M_UNSUPPORTED_ROOM_VERSION, or what Send returns for the events.
func (s *Server) NewRoom(ctx context.Context, r NewRoomRequest) (string, error) {
	if r.Version == "" {
		r.Version = s.o.DefaultRoomVersion
	}
	version, err := stableVersion(r.Version)
	if err != nil {
		return "", err
	}
	id, err := s.startRoom(ctx, version, "", func(b *builder) error {
		b.change.Aliases, b.change.Publish = r.Aliases, r.Publish
		return b.firstEvents(r)
	})
	if storage.IsUniqueViolation(err) {
		return "", httpapi.New(http.StatusBadRequest, "M_ROOM_IN_USE", "The alias is taken")
	}
	return id, err
}

// startRoom makes a room of what build adds, and returns its id, which is given unless
// build makes it.
func (s *Server) startRoom(ctx context.Context, version gomatrixserverlib.IRoomVersion, id string, build func(b *builder) error) (string, error) {
	nid, err := s.db.NextNID(ctx)
	if err != nil {
		return "", err
	}
	row := storage.Room{NID: nid, ID: id, RoomVersion: string(version.Version()), ForwardExtremities: []string{}}
	rm := &room{id: id, version: version, pdus: map[int64]gomatrixserverlib.PDU{}}
	rm.head = head{row: row, state: storage.NewStateMap(), chain: newSnapshotChain(nil, storage.NewStateMap())}
	slot, err := s.reserve(ctx)
	if err != nil {
		return "", err
	}
	ticket, err := rm.append(ctx, s, slot, build)
	if err != nil {
		slot.Release()
		return "", err
	}
	if err := ticket.Wait(context.Background()); err != nil {
		return "", fmt.Errorf("storing a new room: %w", err)
	}
	// It is needed at once: keep what is known instead of reading it back.
	rm.publish(ticket.Change().Room)
	s.live.rooms.SetIfAbsent(rm.id, rm)
	return rm.id, nil
}

func (b *builder) firstEvents(r NewRoomRequest) error {
	if err := b.create(r); err != nil {
		return err
	}
	for _, ie := range r.Events {
		raw, err := json.Marshal(ie.Content)
		if err != nil {
			return fmt.Errorf("encoding a first event: %w", err)
		}
		req := EventRequest{RoomID: b.head.row.ID, Sender: r.Creator, Type: ie.Type, StateKey: ie.StateKey, Content: raw}
		if err := req.Check(); err != nil {
			return err
		}
		if _, err := b.send(req, [16]byte{}, nil); err != nil {
			return err
		}
	}
	return nil
}

// create adds the m.room.create event. From room version 12 on the room's id is
// that event's.
func (b *builder) create(r NewRoomRequest) error {
	content := map[string]any{}
	for k, v := range r.CreateContent {
		content[k] = v
	}
	content["room_version"] = r.Version
	if b.rm.version.CreatorInCreateEvent() {
		content["creator"] = r.Creator
	} else {
		delete(content, "creator")
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return fmt.Errorf("encoding a create event: %w", err)
	}
	if !b.rm.version.DomainlessRoomIDs() {
		b.head.row.ID = "!" + rand.Text() + ":" + b.s.o.ServerName
	}
	e, err := b.add(newEvent{Sender: r.Creator, Type: "m.room.create", StateKey: new(string), Content: raw, TS: b.s.createTime()})
	if err != nil {
		return err
	}
	b.head.row.ID = e.RoomID
	b.rm.id = e.RoomID
	return nil
}

// createTime is the time of a create event: now, or a millisecond after the one before
// if that isn't earlier. From room version 12 on, two rooms that somebody makes alike
// in the same millisecond would otherwise be the same room.
func (s *Server) createTime() time.Time {
	for {
		last := s.newestRoom.Load()
		next := max(time.Now().UnixMilli(), last+1)
		if s.newestRoom.CompareAndSwap(last, next) {
			return time.UnixMilli(next)
		}
	}
}
