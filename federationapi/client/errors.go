package client

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"hearth/internal/httpapi"
)

// RemoteError is another server's answer that refuses a request, or that isn't what
// it should be.
type RemoteError struct {
	Server        string
	Status        int
	Code, Message string
	RetryAfter    time.Duration
	// Body is the answer, if it was JSON: some errors have further members.
	Body []byte
}

func (e *RemoteError) Error() string {
	return fmt.Sprintf("%s answered %d %s: %s", e.Server, e.Status, e.Code, e.Message)
}

// UnreachableError is the result of asking a server that gave no answer.
type UnreachableError struct {
	Server string
	// RetryAt, unless zero, is when the server is asked again: it has failed before and
	// wasn't asked this time.
	RetryAt time.Time
	Err     error
}

func (e *UnreachableError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s has failed and isn't asked until %s", e.Server, e.RetryAt.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("asking %s: %v", e.Server, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// AsClientError is the answer for a user whose request failed because of another
// server: its refusal as it is, 502 for none. Other errors are returned as they are.
func AsClientError(err error) error {
	var remote *RemoteError
	var unreachable *UnreachableError
	switch {
	case errors.As(err, &remote):
		status, code := remote.Status, remote.Code
		if status < 400 || status == http.StatusUnauthorized || status >= 500 || code == "" {
			status, code = http.StatusBadGateway, "M_UNKNOWN"
		}
		e := httpapi.New(status, code, "%s says: %s", remote.Server, remote.Message)
		e.RetryAfter, e.Err = remote.RetryAfter, err
		return e
	case errors.As(err, &unreachable):
		e := httpapi.New(http.StatusBadGateway, "M_UNKNOWN", "The server %s can't be reached", unreachable.Server)
		e.Err = err
		return e
	}
	return err
}
