// Package userid knows the grammar of user ids.
//
// https://spec.matrix.org/v1.19/appendices/#user-identifiers
package userid

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxLength bounds a user id with its sigil and server name, in bytes.
const MaxLength = 255

// ErrInvalid is wrapped by the errors of New.
var ErrInvalid = errors.New("invalid user name")

// New makes the id of a new account of the server from a username, which may be
// in upper case; the id isn't.
func New(username, serverName string) (string, error) {
	local := strings.ToLower(username)
	if local == "" {
		return "", fmt.Errorf("%w: it is empty", ErrInvalid)
	}
	for _, c := range local {
		if !isAllowed(c) {
			return "", fmt.Errorf("%w: only a-z, 0-9 and ._=-/+ are allowed", ErrInvalid)
		}
	}
	id := "@" + local + ":" + serverName
	if len(id) > MaxLength {
		return "", fmt.Errorf("%w: a user id is at most %d bytes long", ErrInvalid, MaxLength)
	}
	return id, nil
}

// Split returns the two parts of a user id. Historical ids, with any characters
// in the local part, are accepted.
func Split(id string) (local, serverName string, ok bool) {
	rest, sigil := strings.CutPrefix(id, "@")
	local, serverName, colon := strings.Cut(rest, ":")
	ok = sigil && colon && serverName != "" && len(id) <= MaxLength &&
		utf8.ValidString(id) && strings.IndexByte(id, 0) < 0
	return local, serverName, ok
}

// IsCompliant reports whether the local part of a user id is one that clients are still told of outside of events.
//
// https://spec.matrix.org/v1.19/appendices/#historical-user-ids
func IsCompliant(local string) bool {
	return local != "" && strings.IndexFunc(local, func(c rune) bool { return c < '!' || c > '~' }) < 0
}

// IsLocal reports whether id is a user id of the server.
func IsLocal(id, serverName string) bool {
	_, server, ok := Split(id)
	return ok && server == serverName
}

// Domain is the server name in a user id, alias or room id that has one, "" for
// none. The id isn't checked.
func Domain(id string) string {
	_, domain, _ := strings.Cut(id, ":")
	return domain
}

// Map makes the local part of a user id of any text.
//
// https://spec.matrix.org/v1.19/appendices/#mapping-from-other-character-sets
func Map(text string) string {
	var b strings.Builder
	for _, c := range []byte(strings.ToLower(text)) {
		if c == '=' || !isAllowed(rune(c)) {
			fmt.Fprintf(&b, "=%02x", c)
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// isAllowed reports whether a character may stand in the local part of a new user's id.
func isAllowed(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.ContainsRune("._=-/+", c)
}
