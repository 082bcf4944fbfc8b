package federationapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	// maxTransaction bounds a transaction, in bytes, unless a single thing in it is larger.
	maxTransaction = 1 << 20
	// maxSigned is how many EDUs are made of the change of a device or of cross-signing
	// keys, at most.
	maxSigned = 2
	// transactionTimeout bounds how long an answer is waited for: what the other server
	// lacks it may have to fetch first.
	transactionTimeout = 2 * time.Minute
)

// sendSome sends at most one transaction and moves the server's place on.
func (s *sender) sendSome(d *destination) (more bool, err error) {
	upTo := s.head.Load()
	list, known := s.tail.between(d.cursor, upTo)
	reached := upTo
	if !known {
		if list, reached, err = s.read(s.ctx, d.name, d.cursor, upTo); err != nil {
			return false, err
		}
	}
	t, reached := s.take(d, list, reached)
	if t.edus, err = s.edus(s.ctx, t); err != nil {
		return false, err
	}
	typed := s.takeTyping(d, maxEDUs-len(t.edus))
	t.edus = append(t.edus, typed...)
	c := storage.FederationCursor{Server: d.name, Position: reached}
	if len(t.pdus)+len(t.edus) > 0 || d.greet {
		err := s.transmit(s.ctx, d, t)
		if err != nil && isFinal(err) && len(t.taken) > 0 {
			return true, s.refused(d, t, err)
		}
		if err != nil && !isFinal(err) {
			return false, err
		}
		c.SucceededAt = time.Now().UnixMilli()
	}
	return reached < upTo, s.sent(d, t, c, known)
}

// sent moves a server's place on.
func (s *sender) sent(d *destination, t *transaction, c storage.FederationCursor, recent bool) error {
	s.mu.Lock()
	if c.SucceededAt > 0 {
		d.serial++
		d.greet, d.heard, d.early = false, time.Time{}, time.Time{}
		d.answered, d.at, d.why, d.since, d.most = true, time.UnixMilli(c.SucceededAt), "", time.Time{}, min(2*d.most, maxPDUs+maxEDUs)
	}
	d.cursor = c.Position
	s.mu.Unlock()
	if len(t.taken) > 0 || !recent {
		if err := s.a.db.SetFederationCursor(s.ctx, c); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(t.taken, func(o *outgoing) bool { return o.toDevice != nil }) {
		if err := s.a.db.DeleteRemoteToDevice(s.ctx, d.name, c.Position); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(t.taken, func(o *outgoing) bool { return o.handover != nil }) {
		return s.a.db.DeleteHandovers(s.ctx, d.name, c.Position)
	}
	return nil
}

// refused is what becomes of a transaction that the server would refuse for ever: it is
// sent in smaller parts, until what is wrong with it is alone and can be left out.
func (s *sender) refused(d *destination, t *transaction, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	d.most = len(t.taken) / 2
	if d.most == 0 {
		s.a.log.Warn("a server refused to be sent something", "server", d.name, "position", t.taken[0].at, "err", err)
		d.cursor, d.most = t.taken[0].at, 1
	}
	return nil
}

// transaction is what is sent at once.
type transaction struct {
	taken []*outgoing
	pdus  []json.RawMessage
	edus  []json.RawMessage
}

// take chooses from the list what fits into a transaction, in order. What it returns is
// all that concerns the server up to reached.
func (s *sender) take(d *destination, list []*outgoing, complete storage.Position) (t *transaction, reached storage.Position) {
	t, reached = &transaction{}, d.cursor
	most := d.most
	if most == 0 {
		most = maxPDUs + maxEDUs
	}
	edus, size := 0, 0
	for _, o := range list {
		if !o.concerns(d.name) {
			reached = o.at
			continue
		}
		if len(t.taken) > 0 && (size+o.size() > maxTransaction || len(t.taken) == most) ||
			len(t.pdus) == maxPDUs && o.event != nil || edus+maxSigned > maxEDUs {
			return t, reached
		}
		switch {
		case o.event != nil:
			t.pdus = append(t.pdus, o.event.JSON)
		case o.device != nil:
			edus += maxSigned
		default:
			edus++
		}
		size += o.size()
		t.taken = append(t.taken, o)
		reached = o.at
	}
	return t, max(reached, complete)
}

// transmit sends a transaction. When it is sent again its name stays the same.
func (s *sender) transmit(ctx context.Context, d *destination, t *transaction) error {
	body := map[string]any{"origin": s.a.serverName, "pdus": orEmpty(t.pdus), "edus": orEmpty(t.edus)}
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("writing a transaction: %w", err)
	}
	name := sha256.Sum256(fmt.Appendf(text, "%d %d", s.started, d.serial))
	body["origin_server_ts"] = time.Now().UnixMilli()
	_, err = s.a.client.Do(ctx, client.Request{
		Method: http.MethodPut, Server: d.name, URI: client.Path("/_matrix/federation/v1/send", hex.EncodeToString(name[:16])),
		Force: true /* serve pauses */, Timeout: transactionTimeout, Body: body,
	})
	result := "taken"
	if err != nil {
		result = "failed"
	}
	transactions.WithLabelValues(result).Inc()
	return err
}

func orEmpty(list []json.RawMessage) []json.RawMessage {
	if list == nil {
		return []json.RawMessage{}
	}
	return list
}

// isFinal reports whether a transaction would be refused again however often it is
// sent. That its sender isn't known, or isn't let in, may be over in a while.
func isFinal(err error) bool {
	var own *httpapi.Error
	if errors.As(err, &own) {
		return true // this server doesn't talk with that one
	}
	var refused *client.RemoteError
	return errors.As(err, &refused) && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusRequestEntityTooLarge)
}
