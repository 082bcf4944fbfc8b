package storage

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// writeDevices writes messages to devices that exist and to other servers' devices,
// and changed device lists.
func (w *batchWriter) writeDevices(ctx context.Context, p *plan) error {
	repeated, err := w.takeToDeviceTxns(ctx, p)
	if err != nil {
		return err
	}
	var position, remotePosition intArray
	var user, device, content, server, edu textArray
	for _, t := range p.tickets {
		if repeated[t] {
			continue
		}
		for _, m := range t.change.ToDevice {
			position.add(m.Position)
			user.add(m.UserID)
			device.add(m.DeviceID)
			content.add(string(m.Content))
		}
		for _, m := range t.change.RemoteToDevice {
			remotePosition.add(m.Position)
			server.add(m.Server)
			edu.add(string(m.Content))
		}
	}
	if len(position.buf) > 0 {
		if err := w.exec(ctx, "writing messages to devices", `
			INSERT INTO to_device (position, user_id, device_id, content)
			SELECT m.* FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS m (position, user_id, device_id, content)
			JOIN devices d USING (user_id, device_id)`, &position, &user, &device, &content); err != nil {
			return err
		}
	}
	if len(remotePosition.buf) > 0 {
		if err := w.exec(ctx, "writing messages to other servers' devices", `
			INSERT INTO federation_to_device (position, server, content) SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[])`,
			&remotePosition, &server, &edu); err != nil {
			return err
		}
	}
	return w.writeDeviceLists(ctx, p)
}

// takeToDeviceTxns notes the names of requests, and returns the tickets of those that
// were written before.
func (w *batchWriter) takeToDeviceTxns(ctx context.Context, p *plan) (map[*Ticket]bool, error) {
	var keys textArray
	first := map[[16]byte]*Ticket{}
	repeated := map[*Ticket]bool{}
	for _, t := range p.tickets {
		key := t.change.ToDeviceTxn
		if key == nil {
			continue
		}
		repeated[t] = true
		if first[*key] == nil {
			first[*key] = t
			keys.add(uuid.UUID(*key).String())
		}
	}
	if len(first) == 0 {
		return nil, nil
	}
	st, err := w.prepare(ctx, `INSERT INTO to_device_txns (txn_key) SELECT * FROM unnest($1::uuid[]) ON CONFLICT DO NOTHING RETURNING txn_key`)
	if err != nil {
		return nil, fmt.Errorf("noting transactions: %w", err)
	}
	rows, err := st.QueryContext(ctx, &keys)
	fresh, err := collect(rows, err, func(r *sql.Rows) (key uuid.UUID, err error) { return key, r.Scan(&key) })
	if err != nil {
		return nil, fmt.Errorf("noting transactions: %w", err)
	}
	for _, key := range fresh {
		delete(repeated, first[key])
	}
	if time.Since(w.forgotTxns) < time.Hour {
		return repeated, nil
	}
	w.forgotTxns = time.Now()
	return repeated, w.exec(ctx, "forgetting transactions", `DELETE FROM to_device_txns WHERE created_at < now() - interval '30 days'`)
}

func (w *batchWriter) writeDeviceLists(ctx context.Context, p *plan) error {
	lists := map[string]Position{}
	for _, t := range p.tickets {
		for _, l := range t.change.DeviceLists {
			lists[l.UserID] = l.Position
		}
	}
	if len(lists) == 0 {
		return nil
	}
	var user textArray
	var position intArray
	for userID, at := range lists {
		user.add(userID)
		position.add(at)
	}
	if err := w.exec(ctx, "writing device lists", `
		INSERT INTO device_lists (user_id, position) SELECT * FROM unnest($1::text[], $2::bigint[])
		ON CONFLICT (user_id) DO UPDATE SET position = excluded.position`, &user, &position); err != nil {
		return err
	}
	return w.writeDeviceChanges(ctx, p)
}

// writeDeviceChanges writes what other servers are told of devices, as a chain for
// each user: a change names the one before it.
func (w *batchWriter) writeDeviceChanges(ctx context.Context, p *plan) error {
	type change struct{ at, previous Position }
	newest := map[[2]string]change{}
	before := map[string]Position{}
	for _, t := range p.tickets {
		for _, l := range t.change.DeviceLists {
			if !l.Announce {
				continue
			}
			newest[[2]string{l.UserID, l.DeviceID}] = change{l.Position, before[l.UserID]}
			if l.DeviceID != "" {
				before[l.UserID] = l.Position
			}
		}
	}
	if len(newest) == 0 {
		return nil
	}
	var user, device textArray
	var position, previous intArray
	for key, c := range newest {
		user.add(key[0])
		device.add(key[1])
		position.add(c.at)
		previous.add(c.previous)
	}
	return w.exec(ctx, "writing changes of devices", `
		INSERT INTO device_changes (user_id, device_id, position, previous, deleted)
		SELECT n.user_id, n.device_id, n.position, CASE WHEN n.previous > 0 THEN n.previous ELSE coalesce(
				(SELECT max(o.position) FROM device_changes o WHERE o.user_id = n.user_id AND o.device_id <> ''), 0) END,
			n.device_id <> '' AND NOT EXISTS (SELECT 1 FROM device_keys k WHERE k.user_id = n.user_id AND k.device_id = n.device_id)
		FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS n (user_id, device_id, position, previous)
		ON CONFLICT (user_id, device_id) DO UPDATE SET position = excluded.position, previous = excluded.previous, deleted = excluded.deleted`,
		&user, &device, &position, &previous)
}
