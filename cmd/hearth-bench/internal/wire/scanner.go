package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Scanner walks JSON in place. It checks the structure only as far as it has to
// in order to find its way; the first thing it can't make sense of ends it, and
// stands in Err.
type Scanner struct {
	b   []byte
	i   int
	err error
}

// NewScanner starts at the first value of b. What the scanner returns refers
// to b.
func NewScanner(b []byte) *Scanner { return &Scanner{b: b} }

// Err is the first thing that was wrong.
func (s *Scanner) Err() error { return s.err }

func (s *Scanner) fail(want string) {
	if s.err == nil {
		s.err = fmt.Errorf("JSON: no %s at byte %d: %.40q", want, s.i, s.b[min(s.i, len(s.b)):])
	}
	s.i = len(s.b)
}

// peek skips white space and returns the next byte, 0 at the end.
func (s *Scanner) peek() byte {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return s.b[s.i]
		}
	}
	return 0
}

// Object calls visit for every key of the object that comes next; visit must
// consume exactly the value. A value of another type is skipped.
func (s *Scanner) Object(visit func(key []byte)) {
	if s.peek() != '{' {
		s.Skip()
		return
	}
	s.i++
	for more := s.peek() != '}'; more; more = s.next('}') {
		if s.peek() != '"' {
			s.fail("key")
			return
		}
		key := s.String()
		if s.peek() != ':' {
			s.fail("colon")
			return
		}
		s.i++
		visit(key)
	}
	s.i++
}

// Array calls visit for every element of the array that comes next; visit must
// consume exactly that element. A value of another type is skipped.
func (s *Scanner) Array(visit func()) {
	if s.peek() != '[' {
		s.Skip()
		return
	}
	s.i++
	for more := s.peek() != ']'; more; more = s.next(']') {
		visit()
	}
	s.i++
}

// next steps over a comma; false at the closing byte.
func (s *Scanner) next(closing byte) bool {
	switch s.peek() {
	case ',':
		s.i++
		s.peek()
		return true
	case closing:
		return false
	}
	s.fail("comma or " + string(closing))
	return false
}

// String returns the string that comes next, unescaped. A value of another type
// is skipped.
func (s *Scanner) String() []byte {
	if s.peek() != '"' {
		s.Skip()
		return nil
	}
	start := s.i
	escaped := s.skipString()
	if s.err != nil {
		return nil
	}
	if !escaped {
		return s.b[start+1 : s.i-1]
	}
	var out string
	if err := json.Unmarshal(s.b[start:s.i], &out); err != nil {
		s.fail("valid string")
	}
	return []byte(out)
}

func (s *Scanner) skipString() (escaped bool) {
	s.i++
	for {
		n := bytes.IndexByte(s.b[min(s.i, len(s.b)):], '"')
		if n < 0 {
			s.fail("end of string")
			return escaped
		}
		back := 0
		for back < n && s.b[s.i+n-1-back] == '\\' {
			back++
		}
		escaped = escaped || bytes.IndexByte(s.b[s.i:s.i+n], '\\') >= 0
		s.i += n + 1
		if back%2 == 0 {
			return escaped
		}
	}
}

// Bool returns the boolean that comes next, false for anything else.
func (s *Scanner) Bool() bool { return string(s.Raw()) == "true" }

// Int returns the integer that comes next, 0 for anything else.
func (s *Scanner) Int() int64 {
	n, _ := strconv.ParseInt(string(s.Raw()), 10, 64)
	return n
}

// Raw returns the bytes of the value that comes next.
func (s *Scanner) Raw() []byte {
	s.peek()
	start := s.i
	s.Skip()
	return s.b[start:s.i]
}

// Skip steps over the value that comes next.
func (s *Scanner) Skip() {
	switch s.peek() {
	case '"':
		s.skipString()
	case '{', '[':
		s.skipNested()
	default:
		start := s.i
		for s.i < len(s.b) && bytes.IndexByte([]byte(",]} \t\r\n"), s.b[s.i]) < 0 {
			s.i++
		}
		if s.i == start {
			s.fail("value")
		}
	}
}

func (s *Scanner) skipNested() {
	for depth := 0; s.i < len(s.b); {
		switch s.b[s.i] {
		case '"':
			s.skipString()
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		s.i++
		if depth == 0 {
			return
		}
	}
	s.fail("closing bracket")
}
