package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// checkReports: who can't see an event can't report it either, and what the answer to a report
// says of a room is nothing.
func (h *hall) checkReports(t *testing.T, p *person) {
	t.Helper()
	report := func(room, event string) string {
		return p.user.do(t, "POST", inRoom(room, "report"+event), map[string]any{"reason": "because"}).String()
	}
	unknown := report(h.id, "/$nothing")
	if !strings.Contains(unknown, "M_NOT_FOUND") {
		t.Errorf("a report of what isn't there: %s", unknown)
	}
	for _, word := range words {
		got := report(h.id, "/"+url.PathEscape(h.events[word]))
		if mayReport := !p.away && !p.outside && slices.Contains(h.visible(p), word); (got == unknown) == mayReport {
			t.Errorf("a report of %q: %s", word, got)
		}
	}
	if here, nowhere := report(h.id, ""), report("!nowhere:localhost", ""); here != nowhere {
		t.Errorf("reports of this room and of none: %s, %s", here, nowhere)
	}
}

// delayedEvents begins the paths of delayed events (MSC4140).
const delayedEvents = "/_matrix/client/unstable/org.matrix.msc4140"

// checkDelayed: what Alice has scheduled is hers until it is sent. Its id, which nobody can guess, is all
// that others could know of it, and it is worth as much to them as any.
func (h *hall) checkDelayed(t *testing.T, p *person) {
	t.Helper()
	const path = delayedEvents
	if list := p.user.ok(t, "GET", path+"/delayed_events", nil).Raw; strings.Contains(list, "scheduled by alice") || strings.Contains(list, h.delayed) {
		t.Errorf("the list of delayed events is %s", list)
	}
	for _, request := range []string{"GET ", "POST /send", "POST /cancel", "POST /restart"} {
		method, action, _ := strings.Cut(request, " ")
		var body any
		if method == "POST" {
			body = map[string]any{}
		}
		got := p.user.do(t, method, path+"/delayed_events/"+h.delayed+action, body)
		if none := p.user.do(t, method, path+"/delayed_events/nothing"+action, body); got.status != http.StatusNotFound || got.String() != none.String() {
			t.Errorf("%s of a delayed event of another's: %s, of none: %s", request, got, none)
		}
	}
	if !h.closed(p) {
		return
	}
	schedule := func(room string) string {
		return p.user.do(t, "PUT", fmt.Sprintf("%s/rooms/%s/delayed_event/m.room.message/1", path, room),
			map[string]any{"delay_ms": 600_000, "content": map[string]any{"body": "x", "msgtype": "m.text"}}).String()
	}
	if here, nowhere := schedule(h.id), schedule("!nowhere:localhost"); len(here) != len(nowhere) { // they may have ids
		t.Errorf("scheduled for this room and for none: %s, %s", here, nowhere)
	}
}

// checkSticky: as long as an event is sticky, sync shows it to who is in the room whatever the
// history's visibility, and to nobody else that doesn't see it anyway.
func (h *hall) checkSticky(t *testing.T, p *person) {
	t.Helper()
	seen := slices.Contains(h.visible(p), "before")
	if event := p.user.do(t, "GET", inRoom(h.id, "event/"+h.stuck), nil); event.status == http.StatusOK != seen && !h.closed(p) {
		t.Errorf("/event of what is sticky: %s", event)
	}
	inside := !p.away && !p.outside
	body := fmt.Sprintf(`{"room_subscriptions":{%q:{"timeline_limit":1,"required_state":[]}},"extensions":{"org.matrix.msc4354.sticky_events":{"enabled":true}}}`, h.id)
	for what, raw := range map[string]string{
		"sync":         p.user.sync(t, "", `{"room":{"include_leave":true,"timeline":{"limit":1}}}`).Raw,
		"sliding sync": p.user.ok(t, "POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync", body).Raw,
	} {
		if strings.Contains(raw, `"text":"sticks"`) != inside {
			t.Errorf("%s shows what is sticky: %v", what, !inside)
		}
	}
}
