package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Age is for how many days something is kept, written such as 90d, or never for what
// doesn't go by age.
type Age time.Duration

const never = "never"

// UnmarshalText reads an age.
func (a *Age) UnmarshalText(text []byte) error {
	if string(text) == never {
		*a = 0
		return nil
	}
	days, ok := strings.CutSuffix(string(text), "d")
	n, err := strconv.Atoi(days)
	if !ok || err != nil || n < 1 || n > 36500 {
		return fmt.Errorf("%q is no age: write a number of days such as 90d, or never", text)
	}
	*a = Age(time.Duration(n) * 24 * time.Hour)
	return nil
}

// MarshalText writes an age.
func (a Age) MarshalText() ([]byte, error) {
	if a == 0 {
		return []byte(never), nil
	}
	return fmt.Appendf(nil, "%dd", time.Duration(a)/(24*time.Hour)), nil
}
