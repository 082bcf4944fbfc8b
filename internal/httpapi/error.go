package httpapi

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Error is an answer that refuses a request: a Matrix error code, a sentence
// for people, and the HTTP status that goes with them. Handlers return it (or
// wrap it); WriteError is the one place that writes it. Without a code the answer
// holds Extra alone: that is how interactive authentication is asked for.
//
// https://spec.matrix.org/v1.19/client-server-api/#standard-error-response
type Error struct {
	Status  int
	Code    string
	Message string
	// RetryAfter, when positive, is sent as Retry-After and retry_after_ms.
	RetryAfter time.Duration
	// Extra holds further members of the error object, such as soft_logout.
	Extra map[string]any
	// Err is the cause, for the log only.
	Err error
}

func (e *Error) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.Err)
	}
	return e.Code + ": " + e.Message
}

func (e *Error) Unwrap() error { return e.Err }

// New returns an error with the given status, code and message.
func New(status int, code, format string, args ...any) *Error {
	return &Error{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Forbidden is 403 M_FORBIDDEN.
func Forbidden(format string, args ...any) *Error {
	return New(http.StatusForbidden, "M_FORBIDDEN", format, args...)
}

// NotFound is 404 M_NOT_FOUND.
func NotFound(format string, args ...any) *Error {
	return New(http.StatusNotFound, "M_NOT_FOUND", format, args...)
}

// BadJSON is 400 M_BAD_JSON: valid JSON of the wrong shape.
func BadJSON(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "M_BAD_JSON", format, args...)
}

// NotJSON is 400 M_NOT_JSON: a body that isn't JSON at all.
func NotJSON(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "M_NOT_JSON", format, args...)
}

// InvalidParam is 400 M_INVALID_PARAM.
func InvalidParam(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "M_INVALID_PARAM", format, args...)
}

// MissingParam is 400 M_MISSING_PARAM.
func MissingParam(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "M_MISSING_PARAM", format, args...)
}

// TooLarge is 413 M_TOO_LARGE.
func TooLarge(format string, args ...any) *Error {
	return New(http.StatusRequestEntityTooLarge, "M_TOO_LARGE", format, args...)
}

// LimitReached is 400 M_USER_LIMIT_EXCEEDED: a user can't have more of something. Where to read more is
// added when it is written.
//
// https://spec.matrix.org/v1.19/client-server-api/#common-error-codes
func LimitReached(format string, args ...any) *Error {
	return New(http.StatusBadRequest, "M_USER_LIMIT_EXCEEDED", format, args...)
}

// LimitExceeded is 429 M_LIMIT_EXCEEDED with the time after which to try again.
func LimitExceeded(retryAfter time.Duration) *Error {
	e := New(http.StatusTooManyRequests, "M_LIMIT_EXCEEDED", "Too many requests")
	e.RetryAfter = max(retryAfter, time.Millisecond)
	return e
}

// Unavailable is 503 M_UNKNOWN: the server is too busy or lacks its database,
// and the same request may succeed after retryAfter.
func Unavailable(retryAfter time.Duration, format string, args ...any) *Error {
	e := New(http.StatusServiceUnavailable, "M_UNKNOWN", format, args...)
	e.RetryAfter = retryAfter
	return e
}

// MissingToken is 401 M_MISSING_TOKEN.
func MissingToken() *Error {
	return New(http.StatusUnauthorized, "M_MISSING_TOKEN", "Missing access token")
}

// UnknownToken is 401 M_UNKNOWN_TOKEN; soft tells the client that it may keep
// its encryption state and log in again.
func UnknownToken(soft bool) *Error {
	e := New(http.StatusUnauthorized, "M_UNKNOWN_TOKEN", "Unknown or expired access token")
	e.Extra = map[string]any{"soft_logout": soft}
	return e
}

// UserLocked is 401 M_USER_LOCKED: the token is good, but an administrator has
// locked the account.
//
// https://spec.matrix.org/v1.19/client-server-api/#account-locking
func UserLocked() *Error {
	e := New(http.StatusUnauthorized, "M_USER_LOCKED", "This account has been locked")
	e.Extra = map[string]any{"soft_logout": true}
	return e
}

// UserSuspended is 403 M_USER_SUSPENDED.
//
// https://spec.matrix.org/v1.19/client-server-api/#account-suspension
func UserSuspended() *Error {
	return New(http.StatusForbidden, "M_USER_SUSPENDED", "You cannot perform this action while suspended")
}

// GuestForbidden is 403 M_GUEST_ACCESS_FORBIDDEN.
func GuestForbidden(format string, args ...any) *Error {
	return New(http.StatusForbidden, "M_GUEST_ACCESS_FORBIDDEN", format, args...)
}

// Unrecognized is M_UNRECOGNIZED: 404 for an unknown path, 405 for a known path
// with the wrong method.
func Unrecognized(status int) *Error {
	return New(status, "M_UNRECOGNIZED", "Unrecognized request")
}

// CodeOf returns the Matrix error code in err's chain, or "" when it has none.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
