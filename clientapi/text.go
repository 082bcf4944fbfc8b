package clientapi

import (
	"unicode/utf8"

	"hearth/internal/httpapi"
)

// Bounds of what clients may call things, in bytes.
const (
	maxDeviceID    = 255
	maxDeviceName  = 1000
	maxDisplayName = 1000
	maxAvatarURL   = 1000
)

func isText(s string) bool { return httpapi.IsText(s) }

// truncate cuts s to at most n bytes, between characters.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// checkText refuses text that is longer than limit bytes or can't be stored.
func checkText(field, s string, limit int) error {
	if len(s) > limit {
		return httpapi.InvalidParam("The %s is longer than %d bytes", field, limit)
	}
	if !isText(s) {
		return httpapi.InvalidParam("The %s is not valid text", field)
	}
	return nil
}
