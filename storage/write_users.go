package storage

import "context"

// writeUserData writes receipts, account data and presence. Of several values
// for one key in a batch the last one counts.
func (w *batchWriter) writeUserData(ctx context.Context, p *plan) error {
	receipts := map[[4]string]Receipt{}
	data := map[[3]string]AccountData{}
	presence := map[string]Presence{}
	for _, t := range p.tickets {
		for _, r := range t.change.Receipts {
			receipts[[4]string{r.RoomID, r.UserID, r.Type, r.ThreadID}] = r
		}
		for _, d := range t.change.AccountData {
			data[[3]string{d.UserID, d.RoomID, d.Type}] = d
		}
		for _, s := range t.change.Presence {
			presence[s.UserID] = s
		}
	}
	if err := w.writeReceipts(ctx, receipts); err != nil {
		return err
	}
	if err := w.writeAccountData(ctx, data); err != nil {
		return err
	}
	if err := w.writePresence(ctx, presence); err != nil {
		return err
	}
	if err := w.writeHandovers(ctx, p); err != nil {
		return err
	}
	if err := w.writeThreadSubscriptions(ctx, p); err != nil {
		return err
	}
	return w.writeDevices(ctx, p)
}

func (w *batchWriter) writeReceipts(ctx context.Context, receipts map[[4]string]Receipt) error {
	if len(receipts) == 0 {
		return nil
	}
	var room, position, ts, place intArray
	var user, typ, thread, event textArray
	for _, r := range receipts {
		room.add(r.RoomNID)
		position.add(r.Position)
		ts.add(r.TS)
		place.add(r.EventPosition)
		user.add(r.UserID)
		typ.add(r.Type)
		thread.add(r.ThreadID)
		event.add(r.EventID)
	}
	return w.exec(ctx, "writing receipts", `
		INSERT INTO receipts (room_nid, position, ts, event_position, user_id, receipt_type, thread_id, event_id)
		SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[])
		ON CONFLICT (room_nid, user_id, receipt_type, thread_id) DO UPDATE SET position = excluded.position,
			ts = excluded.ts, event_position = excluded.event_position, event_id = excluded.event_id`,
		&room, &position, &ts, &place, &user, &typ, &thread, &event)
}

func (w *batchWriter) writeAccountData(ctx context.Context, data map[[3]string]AccountData) error {
	if len(data) == 0 {
		return nil
	}
	var position intArray
	var user, room, typ, content textArray
	for _, d := range data {
		position.add(d.Position)
		user.add(d.UserID)
		room.add(d.RoomID)
		typ.add(d.Type)
		content.add(string(d.Content))
	}
	return w.exec(ctx, "writing account data", `
		INSERT INTO account_data (position, user_id, room_id, type, content)
		SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[])
		ON CONFLICT (user_id, room_id, type) DO UPDATE SET position = excluded.position, content = excluded.content`,
		&position, &user, &room, &typ, &content)
}

func (w *batchWriter) writePresence(ctx context.Context, presence map[string]Presence) error {
	if len(presence) == 0 {
		return nil
	}
	var position, active intArray
	var user, state, status textArray
	for _, p := range presence {
		position.add(p.Position)
		active.add(p.LastActiveTS)
		user.add(p.UserID)
		state.add(p.State)
		status.add(p.StatusMsg)
	}
	return w.exec(ctx, "writing presence", `
		INSERT INTO presence (user_id, position, last_active_ts, state, status_msg)
		SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])
		ON CONFLICT (user_id) DO UPDATE SET position = excluded.position,
			last_active_ts = excluded.last_active_ts, state = excluded.state, status_msg = excluded.status_msg`,
		&user, &position, &active, &state, &status)
}
