package federationapi

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"testing"

	"github.com/lib/pq"

	"hearth/federationapi/client"
	"hearth/internal/httpapi"
	"hearth/roomserver"
)

// TestOwnTrouble looks for whose fault it is that an event isn't taken in.
func TestOwnTrouble(t *testing.T) {
	refusedDial := &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	stored := func(err error) error {
		e := httpapi.Unavailable(0, "The server could not store the event; try again")
		e.Err = err
		return e
	}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{fmt.Errorf("reading events: %w", driver.ErrBadConn), true},
		{fmt.Errorf("reading events: %w", refusedDial), true},
		{&pq.Error{Code: "57P01"}, true},
		{stored(&pq.Error{Code: "53100"}), true},
		{stored(&pq.Error{Code: "23505"}), false},
		{&pq.Error{Code: "22021"}, false},
		{httpapi.Unavailable(0, "The room is changing too fast; try again"), true},
		{httpapi.Forbidden("no"), false},
		{&roomserver.RefusedError{Err: httpapi.Forbidden("no")}, false},
		{errors.Join(&roomserver.MissingEventsError{Prev: []string{"$a"}}, &client.UnreachableError{Server: "x", Err: refusedDial}), false},
		{&client.UnreachableError{Server: "x", Err: refusedDial}, false},
		{errors.New("something else"), false},
	} {
		if got := isOwnTrouble(c.err); got != c.want {
			t.Errorf("isOwnTrouble(%v) is %v", c.err, got)
		}
	}
}
