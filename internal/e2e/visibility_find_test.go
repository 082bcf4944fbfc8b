package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"
)

// checkFound asks the paths by which rooms, and what was said in them, are found.
func (h *hall) checkFound(t *testing.T, p *person) {
	t.Helper()
	h.checkDescription(t, p)
	h.checkTimes(t, p)
	h.checkSearch(t, p)
	h.checkInitialSync(t, p)
}

// checkInitialSync: what clients asked before there was /sync.
func (h *hall) checkInitialSync(t *testing.T, p *person) {
	t.Helper()
	for _, word := range words {
		if !slices.Contains(h.visible(p), word) {
			p.user.refused(t, http.StatusNotFound, "M_NOT_FOUND", "GET", clientV3+"/events/"+url.PathEscape(h.events[word]), nil)
		} else if !h.closed(p) {
			p.user.ok(t, "GET", clientV3+"/events/"+url.PathEscape(h.events[word]), nil)
		}
	}
	for _, path := range []string{inRoom(h.id, "initialSync?limit=100"), clientV3 + "/events?room_id=" + url.QueryEscape(h.id) + "&from=" + p.since} {
		live := path[:len(clientV3)+7] == clientV3+"/events"
		if h.closed(p) || live && p.away && h.visibility != "world_readable" {
			p.user.refused(t, http.StatusForbidden, "M_FORBIDDEN", "GET", path, nil)
			continue
		}
		answer := p.user.ok(t, "GET", path, nil)
		if live {
			h.checkWords(t, p, "/events", answer.Get("chunk").Array())
		} else {
			h.checkWords(t, p, "/initialSync", answer.Get("messages.chunk").Array())
		}
	}
	for _, room := range p.user.ok(t, "GET", clientV3+"/initialSync?archived=true&limit=100", nil).Get("rooms").Array() {
		if room.Get("room_id").String() == h.id && room.Get("membership").String() != "invite" {
			h.checkWords(t, p, "/initialSync of all rooms", room.Get("messages.chunk").Array())
		}
	}
}

// checkSearch: each word is found by who sees it and is or was in the room.
func (h *hall) checkSearch(t *testing.T, p *person) {
	t.Helper()
	for _, word := range words {
		body := map[string]any{"search_categories": map[string]any{"room_events": map[string]any{"search_term": word, "filter": map[string]any{"rooms": []string{h.id}}}}}
		count := p.user.ok(t, "POST", clientV3+"/search", body).Get("search_categories.room_events.count").Int()
		want := int64(0)
		if slices.Contains(h.visible(p), word) && !p.outside {
			want = 1
		}
		if count != want {
			t.Errorf("/search finds %q %d times instead of %d", word, count, want)
		}
	}
}

// checkDescription: who may enter the room, or look into it, is told what it is.
func (h *hall) checkDescription(t *testing.T, p *person) {
	t.Helper()
	summary := "/_matrix/client/v1/room_summary/" + url.PathEscape(h.id)
	hierarchy := "/_matrix/client/v1/rooms/" + url.PathEscape(h.id) + "/hierarchy"
	if inside := p.section == "invite" || p.section == "join"; !inside && h.visibility != "world_readable" {
		p.user.refused(t, http.StatusNotFound, "M_NOT_FOUND", "GET", summary, nil)
		p.user.refused(t, http.StatusForbidden, "M_FORBIDDEN", "GET", hierarchy, nil)
		return
	}
	for name, r := range map[string]string{"room_summary": p.user.ok(t, "GET", summary, nil).Get("topic").String(),
		"hierarchy": p.user.ok(t, "GET", hierarchy, nil).Get("rooms.0.topic").String()} {
		if r != "new" {
			t.Errorf("/%s shows the topic %q", name, r)
		}
	}
}

// checkTimes: the newest event and the oldest one are among those that are shown.
func (h *hall) checkTimes(t *testing.T, p *person) {
	t.Helper()
	for dir, ts := range map[string]int64{"b": time.Now().Add(time.Hour).UnixMilli(), "f": 0} {
		path := fmt.Sprintf("/_matrix/client/v1/rooms/%s/timestamp_to_event?dir=%s&ts=%d", url.PathEscape(h.id), dir, ts)
		if h.closed(p) {
			p.user.refused(t, http.StatusForbidden, "M_FORBIDDEN", "GET", path, nil)
			continue
		}
		found := p.user.ok(t, "GET", path, nil).Get("event_id").String()
		if event := p.user.do(t, "GET", inRoom(h.id, "event/"+url.PathEscape(found)), nil); event.status != http.StatusOK {
			t.Errorf("/timestamp_to_event finds what isn't shown: %s", event)
		}
	}
}
