package password

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Policy is what people's new passwords must be like.
type Policy struct {
	// MinLength is in characters.
	MinLength int
	// Require names the classes of which each must occur; see Classes.
	Require []string
}

// Classes are the kinds of characters that a Policy may require.
var Classes = map[string]func(rune) bool{
	"lowercase": unicode.IsLower,
	"uppercase": unicode.IsUpper,
	"digit":     unicode.IsDigit,
	"symbol":    func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsSpace(r) },
}

// TooShortError and WeakError refuse a password by a Policy.
type (
	TooShortError struct{ MinLength int }
	WeakError     struct{ Lacks string }
)

func (e *TooShortError) Error() string {
	return fmt.Sprintf("the password is shorter than %d characters", e.MinLength)
}

func (e *WeakError) Error() string {
	return fmt.Sprintf("the password has no %s character", e.Lacks)
}

// Check refuses a password that isn't as the policy wants it.
func (p Policy) Check(password string) error {
	if utf8.RuneCountInString(password) < p.MinLength {
		return &TooShortError{p.MinLength}
	}
	for _, class := range p.Require {
		if !strings.ContainsFunc(password, Classes[class]) {
			return &WeakError{class}
		}
	}
	return nil
}
