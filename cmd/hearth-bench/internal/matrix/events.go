package matrix

import (
	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/wire"
)

// Event is an event of a timeline. Marked tells whether it is one of the tool's
// own messages.
type Event struct {
	ID     []byte
	Mark   check.Mark
	Marked bool
}

func scanEvents(s *wire.Scanner, events []Event) []Event {
	s.Array(func() { events = append(events, scanEvent(s)) })
	return events
}

func scanEvent(s *wire.Scanner) (e Event) {
	s.Object(func(key []byte) {
		switch string(key) {
		case "event_id":
			e.ID = s.String()
		case "content":
			s.Object(func(key []byte) {
				if string(key) == "body" {
					e.Mark, e.Marked = check.ParseBody(s.String())
				} else {
					s.Skip()
				}
			})
		default:
			s.Skip()
		}
	})
	return e
}
