package roomserver

import (
	"slices"

	"github.com/tidwall/gjson"

	"hearth/storage"
)

// maxMentions bounds the users one event can highlight for.
const maxMentions = 100

// notify decides whom an event counts for as unread: once for all who have the
// default push rules, and for each of the few who have others.
func (b *builder) notify(e *storage.Event) {
	if e.RedactedBy != "" {
		return
	}
	b.notifyByDefault(e)
	b.except(e)
}

// notifyByDefault decides, once per event and not once per member, whether the
// default push rules count it as unread and whom it highlights for.
//
// https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
func (b *builder) notifyByDefault(e *storage.Event) {
	content := gjson.GetBytes(e.JSON, "content")
	if e.Type == "m.room.message" && content.Get("msgtype").Str == "m.notice" { // .m.rule.suppress_notices
		return
	}
	if e.Type == "m.room.member" { // .m.rule.member_event; .m.rule.invite_for_me counts no event of a joined room
		return
	}
	mentioned := b.mentions(e, content)
	edit := content.Get(`m\.relates_to.rel_type`).Str == "m.replace" // .m.rule.suppress_edits
	switch e.Type {
	case "m.room.message", "m.room.encrypted", "m.call.invite", "org.matrix.msc3381.poll.start", "org.matrix.msc3381.poll.end":
		e.Notifies = !edit
	case "m.room.tombstone":
		e.Notifies = e.IsState() && *e.StateKey == ""
	}
	e.Notifies = e.Notifies || slices.Contains(mentioned, "")
	for _, userID := range mentioned {
		b.change.Highlights = append(b.change.Highlights, storage.Highlight{
			UserID: userID, Event: len(b.change.Events) - 1})
	}
}

// mentions returns the joined users that the event highlights for, "" standing
// for everyone in the room.
//
// https://spec.matrix.org/v1.19/client-server-api/#user-and-room-mentions
func (b *builder) mentions(e *storage.Event, content gjson.Result) []string {
	if e.Type == "m.room.tombstone" && e.IsState() && *e.StateKey == "" { // .m.rule.tombstone
		return []string{""}
	}
	m := content.Get(`m\.mentions`)
	if !m.IsObject() {
		return nil
	}
	// .m.rule.is_room_mention
	if m.Get("room").Type == gjson.True {
		if p := b.powerLevels(); p.Of(e.Sender) >= p.notification("room") {
			return []string{""}
		}
	}
	var users []string
	for _, u := range m.Get("user_ids").Array() { // .m.rule.is_user_mention
		entry, _ := b.head.state.Get(storage.StateTuple{Type: "m.room.member", StateKey: u.Str})
		if len(users) < maxMentions && entry.Membership == "join" && u.Str != e.Sender && !slices.Contains(users, u.Str) {
			users = append(users, u.Str)
		}
	}
	return users
}
