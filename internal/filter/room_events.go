// Package filter reads the filters with which clients narrow what /sync and
// /messages return.
package filter

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"hearth/storage"
)

// MaxBytes bounds a filter's text.
const MaxBytes = 64 << 10

// RoomEvents narrows the events of rooms. Absent lists let everything pass, empty
// ones nothing.
//
// https://spec.matrix.org/v1.19/client-server-api/#filtering
type RoomEvents struct {
	Types           *[]string `json:"types"`
	NotTypes        []string  `json:"not_types"`
	Senders         *[]string `json:"senders"`
	NotSenders      []string  `json:"not_senders"`
	Rooms           *[]string `json:"rooms"`
	NotRooms        []string  `json:"not_rooms"`
	ContainsURL     *bool     `json:"contains_url"`
	Limit           *int      `json:"limit"`
	LazyLoadMembers bool      `json:"lazy_load_members"`
	// IncludeRedundantMembers sends members again that the client knows already.
	IncludeRedundantMembers   bool `json:"include_redundant_members"`
	UnreadThreadNotifications bool `json:"unread_thread_notifications"`
	// RelTypes and NotRelTypes are how events relate to others, such as m.thread.
	//
	// https://github.com/matrix-org/matrix-spec-proposals/pull/3874
	RelTypes    *[]string `json:"org.matrix.msc3874.rel_types"`
	NotRelTypes []string  `json:"org.matrix.msc3874.not_rel_types"`
}

// ParseRoomEvents reads a filter given as JSON; "" lets everything pass.
func ParseRoomEvents(text string) (*RoomEvents, error) {
	var f RoomEvents
	if text == "" {
		return &f, nil
	}
	if err := parse([]byte(text), &f); err != nil {
		return nil, err
	}
	return &f, f.Check()
}

// maxEntries bounds each list of a filter.
const maxEntries = 1000

// Check makes sure that the filter is right.
func (f *RoomEvents) Check() error {
	if f.Limit != nil && *f.Limit < 0 {
		return errors.New("limit must not be negative")
	}
	for _, list := range []*[]string{f.Types, &f.NotTypes, f.Senders, &f.NotSenders, f.Rooms, &f.NotRooms, f.RelTypes, &f.NotRelTypes} {
		if list != nil && len(*list) > maxEntries {
			return fmt.Errorf("a list has more than %d entries", maxEntries)
		}
	}
	if err := checkIDs('!', "room", f.Rooms, f.NotRooms); err != nil {
		return err
	}
	return checkIDs('@', "user", f.Senders, f.NotSenders)
}

// checkIDs makes sure that lists have ids that begin with the sigil.
func checkIDs(sigil byte, kind string, only *[]string, not []string) error {
	for _, list := range []*[]string{only, &not} {
		if list == nil {
			continue
		}
		for _, id := range *list {
			if id == "" || id[0] != sigil {
				return fmt.Errorf("%.100q is no %s id", id, kind)
			}
		}
	}
	return nil
}

func parse(text []byte, into any) error {
	if len(text) > MaxBytes {
		return fmt.Errorf("it is longer than %d bytes", MaxBytes)
	}
	if err := json.Unmarshal(text, into); err != nil {
		var wrong *json.UnmarshalTypeError
		if errors.As(err, &wrong) {
			return fmt.Errorf("%s must not be a %s", wrong.Field, wrong.Value)
		}
		return errors.New("it isn't JSON")
	}
	return nil
}

// Matches reports whether the filter lets the event pass.
func (f *RoomEvents) Matches(e *storage.Event) bool {
	return f.MatchesRoom(e.RoomID) && f.matchesTypeAndSender(e.Type, e.Sender) && f.matchesURL(e) && f.matchesRelation(e)
}

// MatchesRoom reports whether the filter lets anything of the room pass.
func (f *RoomEvents) MatchesRoom(roomID string) bool {
	return (f.Rooms == nil || contains(*f.Rooms, roomID)) && !contains(f.NotRooms, roomID)
}

func (f *RoomEvents) matchesTypeAndSender(eventType, sender string) bool {
	return f.MatchesType(eventType) && (f.Senders == nil || contains(*f.Senders, sender)) && !contains(f.NotSenders, sender)
}

func (f *RoomEvents) matchesURL(e *storage.Event) bool {
	if f.ContainsURL == nil {
		return true
	}
	return (gjson.GetBytes(e.JSON, "content.url").Type == gjson.String) == *f.ContainsURL
}

func (f *RoomEvents) matchesRelation(e *storage.Event) bool {
	if f.RelTypes == nil && len(f.NotRelTypes) == 0 {
		return true
	}
	relType := gjson.GetBytes(e.JSON, `content.m\.relates_to.rel_type`).Str
	return (f.RelTypes == nil || relType != "" && contains(*f.RelTypes, relType)) && !contains(f.NotRelTypes, relType)
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

func matchesAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if matches(p, s) {
			return true
		}
	}
	return false
}

// matches matches s with a pattern in which * stands for any run of characters.
// It takes time proportional to the product of their lengths at worst.
func matches(pattern, s string) bool {
	if !strings.Contains(pattern, "*") {
		return pattern == s
	}
	parts := strings.Split(pattern, "*")
	if !strings.HasPrefix(s, parts[0]) {
		return false
	}
	s = s[len(parts[0]):]
	last := len(parts) - 1
	for _, part := range parts[1:last] {
		i := strings.Index(s, part)
		if i < 0 {
			return false
		}
		s = s[i+len(part):]
	}
	return strings.HasSuffix(s, parts[last])
}
