package syncapi

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"

	"github.com/tidwall/gjson"

	"hearth/storage"
)

// write writes the answer.
func (q *slide) write(pos slidingPos, v *overview, x *extended) []byte {
	b := append(make([]byte, 0, 4096), `{"pos":"`...)
	b = q.api.connections.write(b, pos, q.owner, q.params.connID)
	b = append(b, `","lists":{`...)
	for _, name := range slices.Sorted(maps.Keys(v.counts)) {
		b = append(appendJSON(comma(b), name), `:{"count":`...)
		b = append(strconv.AppendInt(b, int64(v.counts[name]), 10), '}')
	}
	b = append(b, `},"rooms":{`...)
	for _, l := range v.looks {
		if l.worthTelling() {
			b = append(appendJSON(comma(b), l.membership.RoomID), ':')
			b = q.appendLook(b, v, l)
		}
	}
	b = append(b, `},"extensions":{`...)
	b = q.appendExtensions(b, x)
	return append(b, `}}`...)
}

func (q *slide) appendLook(b []byte, v *overview, l *roomLook) []byte {
	b = append(b, '{')
	if l.initial {
		b = append(b, `"initial":true`...)
	}
	if l.initial || l.bumped {
		b = strconv.AppendInt(append(comma(b), `"bump_stamp":`...), l.bump, 10)
	}
	if q.wire.accepted {
		b = appendJSON(append(comma(b), `"membership":`...), l.membership.Membership)
		if len(l.lists) > 0 {
			b = appendStrings(append(comma(b), `"lists":`...), l.lists)
		}
	}
	if l.dm || l.told != nil && l.told.dm {
		b = strconv.AppendBool(append(comma(b), `"is_dm":`...), l.dm)
	}
	if q.wire.counts {
		n := l.unread()
		b = strconv.AppendInt(append(comma(b), `"notification_count":`...), int64(n.Notifications), 10)
		b = strconv.AppendInt(append(b, `,"highlight_count":`...), int64(n.Highlights), 10)
	}
	if l.stripped != nil {
		b = append(append(append(comma(b), '"'), q.wire.stripped...), `":[`...)
		for _, e := range l.stripped {
			b = append(comma(b), e...)
		}
		return append(b, `]}`...)
	}
	b = q.appendNames(b, v, l)
	b = q.appendRequired(b, v, l)
	return append(q.appendLookTimeline(b, v, l), '}')
}

// appendNames appends what the room is called after, and by how many.
func (q *slide) appendNames(b []byte, v *overview, l *roomLook) []byte {
	text := func(nid int64, path string) string {
		if e := v.events[nid]; e != nil {
			return gjson.GetBytes(e.JSON, path).Str
		}
		return ""
	}
	name, avatar := text(l.name, "content.name"), text(l.avatar, "content.url")
	if name != "" {
		b = appendJSON(append(comma(b), `"name":`...), name)
	} else if l.nameChanged && q.wire.accepted {
		b = append(comma(b), `"name":null`...)
	}
	if avatar != "" {
		b = appendJSON(append(comma(b), `"avatar":`...), avatar)
	} else if l.avatarChanged {
		b = append(comma(b), `"avatar":null`...)
	}
	if len(l.heroes) > 0 {
		b = append(comma(b), `"heroes":[`...)
		for _, id := range l.heroes {
			b = appendJSON(append(comma(b), `{"user_id":`...), id)
			entry, _ := l.shot.view.Entry("m.room.member", id)
			if s := text(entry.EventNID, "content.displayname"); s != "" {
				b = appendJSON(append(b, `,"displayname":`...), s)
			}
			if s := text(entry.EventNID, "content.avatar_url"); s != "" {
				b = appendJSON(append(b, `,"avatar_url":`...), s)
			}
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	if l.membership.Membership == "join" && (l.initial || l.membersChanged) {
		b = strconv.AppendInt(append(comma(b), `"joined_count":`...), int64(l.shot.view.Summary.JoinedMembers), 10)
		b = strconv.AppendInt(append(b, `,"invited_count":`...), int64(l.shot.view.Summary.InvitedMembers), 10)
	}
	return b
}

func (q *slide) appendRequired(b []byte, v *overview, l *roomLook) []byte {
	if len(l.state)+len(l.removed) == 0 {
		return b
	}
	b = append(comma(b), `"required_state":[`...)
	b = q.appendStateEvents(b, l.state, v.events, v.stateRelated)
	for _, t := range l.removed {
		b = appendJSON(append(comma(b), `{"type":`...), t.Type)
		b = append(appendJSON(append(b, `,"state_key":`...), t.StateKey), '}')
	}
	return append(b, ']')
}

func (q *slide) appendLookTimeline(b []byte, v *overview, l *roomLook) []byte {
	t := l.timeline
	if t == nil {
		return b
	}
	if l.shot.expanded {
		b = append(append(append(comma(b), '"'), q.wire.expanded...), `":true`...)
	}
	if len(t.entries) > 0 {
		b = append(comma(b), `"timeline":[`...)
		for _, e := range t.entries {
			b = q.appendEntry(comma(b), e, v.related, l.shot.vis)
		}
		b = append(b, ']')
	}
	live := 0
	if !q.initial {
		for _, e := range t.entries {
			if e.event.Position > q.pos.position {
				live++
			}
		}
	}
	b = strconv.AppendInt(append(comma(b), `"num_live":`...), int64(live), 10)
	b = strconv.AppendBool(append(b, `,"limited":`...), t.limited)
	return append(t.prev.Append(append(b, `,"prev_batch":"`...)), '"')
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for _, s := range list {
		b = appendJSON(comma(b), s)
	}
	return append(b, ']')
}

func (q *slide) appendExtensions(b []byte, x *extended) []byte {
	if q.params.extensions.ToDevice.Enabled {
		b = strconv.AppendInt(append(comma(b), `"to_device":{"next_batch":"`...), x.toDevice, 10)
		b = append(appendMessages(append(b, `","events":[`...), x.messages), `]}`...)
	}
	if q.params.extensions.E2EE.Enabled {
		b = append(comma(b), `"e2ee":{`...)
		if !q.initial {
			b = append(x.devices.appendLists(append(b, `"device_lists":{`...)), '}')
		}
		b = append(appendKeyCounts(b, x.keys), '}')
	}
	if q.params.extensions.AccountData.Enabled {
		b = append(appendDataList(append(comma(b), `"account_data":{"global":`...), x.global), `,"rooms":{`...)
		for _, id := range slices.Sorted(maps.Keys(x.roomData)) {
			b = appendDataList(append(appendJSON(comma(b), id), ':'), x.roomData[id])
		}
		b = append(b, `}}`...)
	}
	if q.params.extensions.Receipts.Enabled {
		b = append(comma(b), `"receipts":{"rooms":{`...)
		for _, id := range slices.Sorted(maps.Keys(x.receipts)) {
			b = appendReceipts(append(appendJSON(comma(b), id), ':'), x.receipts[id])
		}
		b = append(b, `}}`...)
	}
	if x.threads != nil {
		text, _ := json.Marshal(x.threads) // consists of texts and numbers
		b = append(append(appendJSON(comma(b), threadsExtension), ':'), text...)
	}
	if q.params.extensions.Sticky.Enabled {
		b = q.appendStickyExtension(b, x)
	}
	if q.params.extensions.Typing.Enabled {
		b = append(comma(b), `"typing":{"rooms":{`...)
		for _, id := range slices.Sorted(maps.Keys(x.typing)) {
			b = appendTyping(append(appendJSON(comma(b), id), ':'), x.typing[id])
		}
		b = append(b, `}}`...)
	}
	return b
}

func appendDataList(b []byte, data []storage.AccountData) []byte {
	b = append(b, '[')
	for _, d := range data {
		b = append(append(comma(b), `{"content":`...), d.Content...)
		b = append(appendJSON(append(b, `,"type":`...), d.Type), '}')
	}
	return append(b, ']')
}
