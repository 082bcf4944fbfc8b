package roomserver

import (
	"errors"
	"fmt"

	"github.com/matrix-org/gomatrixserverlib"
	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// redactsOf is the event that a redaction names, "" for none.
func redactsOf(v gomatrixserverlib.IRoomVersion, e *storage.Event) string {
	path := "redacts"
	if redactsInContent(v) {
		path = "content.redacts"
	}
	return gjson.GetBytes(e.JSON, path).Str
}

// redactedForm is what is left of an event after a redaction.
func redactedForm(v gomatrixserverlib.IRoomVersion, target *storage.Event, by string) (*storage.Event, error) {
	redacted := *target
	redacted.RedactedBy, redacted.Notifies, redacted.StickyUntil = by, false, 0
	var err error
	if redacted.JSON, err = v.RedactEventJSON(target.JSON); err == nil {
		redacted.JSON, err = gomatrixserverlib.CanonicalJSON(redacted.JSON)
	}
	if err != nil {
		return nil, fmt.Errorf("redacting %s: %w", target.ID, err)
	}
	return &redacted, nil
}

// redactLate has an event be what is left of it by a redaction that came before it.
func (b *builder) redactLate(e *storage.Event, pdu gomatrixserverlib.PDU) (gomatrixserverlib.PDU, error) {
	pending, err := b.s.db.PendingRedactions(b.ctx, b.head.row.NID, []string{e.ID})
	if err != nil || len(pending) == 0 {
		return pdu, err
	}
	ids := make([]string, len(pending))
	for i, p := range pending {
		ids[i] = p.RedactionID
	}
	known, err := b.knownOf(ids)
	if err != nil {
		return nil, err
	}
	for _, by := range known {
		if !by.Accepted() || b.mayRedact(by.Sender, &redactionTarget{e.ID, e}) != nil {
			continue
		}
		redacted, err := redactedForm(b.rm.version, e, by.ID)
		if err != nil {
			return nil, err
		}
		*e = *redacted
		return pduOf(b.rm.version, e)
	}
	return pdu, nil
}

// redactions carries out the redactions among the events of the past, and those of
// these events that came before them.
func (w *pastWriter) redactions() error {
	by := map[string]*storage.Event{} // by target
	var ids []string
	for _, e := range w.old.Events {
		ids = append(ids, e.ID)
		if target := redactsOf(w.rm.version, e); e.Type == "m.room.redaction" && e.Accepted() && target != "" {
			by[target] = e
		}
	}
	pending, err := w.s.db.PendingRedactions(w.ctx, w.head.row.NID, ids)
	if err != nil {
		return err
	}
	ids = ids[:0]
	for _, p := range pending {
		ids = append(ids, p.RedactionID)
	}
	for target := range by {
		ids = append(ids, target)
	}
	known, err := w.knownOf(ids)
	if err != nil {
		return err
	}
	for _, p := range pending {
		if e := known[p.RedactionID]; e != nil {
			by[p.Target] = e
		}
	}
	for target, e := range by {
		if err := w.redactPast(target, e, known); err != nil {
			return err
		}
	}
	return nil
}

func (w *pastWriter) redactPast(id string, by *storage.Event, known map[string]*storage.Event) error {
	target, isNew := known[id], false
	if e := w.events[id]; e != nil {
		target, isNew = e, !w.old.Known[e.NID]
	}
	if target == nil || target.RedactedBy != "" {
		return nil
	}
	var refused *httpapi.Error
	if err := w.mayRedact(by.Sender, &redactionTarget{id, target}); errors.As(err, &refused) {
		return nil
	} else if err != nil {
		return err
	}
	redacted, err := redactedForm(w.rm.version, target, by.ID)
	if err != nil {
		return err
	}
	if isNew {
		*target = *redacted
		return nil
	}
	if e := w.events[id]; e != nil {
		*e = *redacted
	}
	w.old.Redacted = append(w.old.Redacted, redacted)
	return nil
}
