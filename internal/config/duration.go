package config

import (
	"fmt"
	"strings"
	"time"
)

// Duration is a length of time, written such as 1h30m.
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v <= 0 {
		return fmt.Errorf("%q is no length of time: write it such as 30s, 5m or 1h30m", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes a duration without zero parts.
func (d Duration) MarshalText() ([]byte, error) {
	s := time.Duration(d).String()
	s = strings.TrimSuffix(s, "m0s") + map[bool]string{true: "m"}[strings.HasSuffix(s, "m0s")]
	s = strings.TrimSuffix(s, "h0m") + map[bool]string{true: "h"}[strings.HasSuffix(s, "h0m")]
	return []byte(s), nil
}
