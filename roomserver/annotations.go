package roomserver

import (
	"context"
	"errors"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// annotated refuses an annotation that the sender has made before. If it is the same request
// again, it returns that one's event.
//
// https://spec.matrix.org/v1.19/client-server-api/#avoiding-duplicate-annotations
func (s *Server) annotated(ctx context.Context, r *EventRequest, key [16]byte) (eventID string, err error) {
	relation, ok := storage.ContentRelation(r.Content)
	if !ok || relation.Type != "m.annotation" {
		return "", nil
	}
	there, err := s.db.HasAnnotation(ctx, relation.EventID, r.Sender, r.Type, relation.Key)
	if err != nil || !there {
		return "", err
	}
	if r.TxnID != "" {
		if id, err := s.db.EventIDByTxn(ctx, key); !errors.Is(err, storage.ErrNotFound) {
			return id, err
		}
	}
	return "", httpapi.New(http.StatusBadRequest, "M_DUPLICATE_ANNOTATION", "You have annotated this event in this way already")
}

// mayBeThread refuses to begin a thread at an event that relates to another.
//
// https://spec.matrix.org/v1.19/client-server-api/#validation-of-mthread-relationships
func (s *Server) mayBeThread(ctx context.Context, r *EventRequest) error {
	relation, ok := storage.ContentRelation(r.Content)
	if !ok || relation.Type != "m.thread" {
		return nil
	}
	if _, known := s.roots.GetIfPresent(relation.EventID); known {
		return nil
	}
	v, err := s.View(ctx, r.RoomID)
	if errors.Is(err, ErrUnknownRoom) || err == nil && v.Membership(r.Sender) != "join" {
		return nil // refused for that, whatever the event is
	}
	if err != nil {
		return err
	}
	related, err := s.db.IsRelated(ctx, v.Room.NID, relation.EventID)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil
	case err != nil:
		return err
	case related:
		return httpapi.New(http.StatusBadRequest, "M_UNKNOWN", "A thread can't begin at an event that relates to another")
	}
	s.roots.Set(relation.EventID, struct{}{})
	return nil
}
