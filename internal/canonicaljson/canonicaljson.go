// Package canonicaljson writes JSON in the one form that hashes and signatures
// are computed over, in a single pass and without building a tree.
//
// https://spec.matrix.org/v1.19/appendices/#canonical-json
package canonicaljson

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth bounds how deeply arrays and objects may nest.
const MaxDepth = 200

// ErrInvalid is wrapped by every error: the input isn't JSON, or can't be written
// canonically.
var ErrInvalid = errors.New("not canonical JSON")

// Append appends the canonical form of the JSON value src to dst. Numbers must
// be integers within ±(2^53-1), and an object must not have a key twice. On error
// dst's contents beyond its length are undefined.
func Append(dst, src []byte) ([]byte, error) {
	p := parser{src: src, dst: dst}
	p.space()
	if err := p.value(0); err != nil {
		return nil, err
	}
	p.space()
	if p.pos != len(p.src) {
		return nil, p.fail("text after the value")
	}
	return p.dst, nil
}

type parser struct {
	src []byte
	pos int
	dst []byte
}

func (p *parser) fail(what string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrInvalid, what, p.pos)
}

func (p *parser) space() {
	for p.pos < len(p.src) {
		switch p.src[p.pos] {
		case ' ', '\t', '\n', '\r':
			p.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.pos < len(p.src) {
		return p.src[p.pos]
	}
	return 0
}

func (p *parser) value(depth int) error {
	if depth > MaxDepth {
		return p.fail("nested too deeply")
	}
	switch c := p.peek(); {
	case c == '{':
		return p.object(depth)
	case c == '[':
		return p.array(depth)
	case c == '"':
		start := len(p.dst)
		p.dst = append(p.dst, '"')
		if err := p.text(); err != nil {
			p.dst = p.dst[:start]
			return err
		}
		p.dst = append(p.dst, '"')
		return nil
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if strings.HasPrefix(string(p.src[p.pos:min(len(p.src), p.pos+5)]), word) {
			p.pos += len(word)
			p.dst = append(p.dst, word...)
			return nil
		}
	}
	return p.fail("no value")
}

func (p *parser) array(depth int) error {
	p.pos++
	p.dst = append(p.dst, '[')
	p.space()
	if p.peek() == ']' {
		p.pos++
		p.dst = append(p.dst, ']')
		return nil
	}
	for {
		p.space()
		if err := p.value(depth + 1); err != nil {
			return err
		}
		p.space()
		c := p.peek()
		if c != ',' && c != ']' {
			return p.fail("an array doesn't go on")
		}
		p.pos++
		p.dst = append(p.dst, c)
		if c == ']' {
			return nil
		}
	}
}

// member is one "key":value of an object, as written to dst[start:end]. The key
// is kept as it is written: escapes sort unlike what they stand for, but only
// below the space character, where order() decodes them.
type member struct{ start, keyEnd, end int }

func (p *parser) object(depth int) error {
	p.pos++
	open := len(p.dst)
	p.dst = append(p.dst, '{')
	p.space()
	if p.peek() == '}' {
		p.pos++
		p.dst = append(p.dst, '}')
		return nil
	}
	var buf [16]member
	members := buf[:0]
	for {
		m, err := p.member(depth)
		if err != nil {
			return err
		}
		members = append(members, m)
		p.space()
		c := p.peek()
		if c != ',' && c != '}' {
			return p.fail("an object doesn't go on")
		}
		p.pos++
		p.dst = append(p.dst, c)
		if c == '}' {
			return p.sort(open, members)
		}
	}
}

func (p *parser) member(depth int) (m member, err error) {
	p.space()
	if p.peek() != '"' {
		return m, p.fail("a key is no string")
	}
	m.start = len(p.dst)
	p.dst = append(p.dst, '"')
	if err := p.text(); err != nil {
		return m, err
	}
	m.keyEnd = len(p.dst)
	p.space()
	if p.peek() != ':' {
		return m, p.fail("a key has no value")
	}
	p.pos++
	p.dst = append(p.dst, '"', ':')
	p.space()
	if err := p.value(depth + 1); err != nil {
		return m, err
	}
	m.end = len(p.dst)
	return m, nil
}

// sort puts the members of the object at open in order; most clients' objects
// are small and many are in order already.
func (p *parser) sort(open int, members []member) error {
	compare := func(a, b member) int {
		return compareKeys(p.dst[a.start+1:a.keyEnd], p.dst[b.start+1:b.keyEnd])
	}
	sorted := true
	for i := 1; i < len(members) && sorted; i++ {
		sorted = compare(members[i-1], members[i]) < 0
	}
	if sorted {
		return nil
	}
	slices.SortFunc(members, compare)
	for i := 1; i < len(members); i++ {
		if compare(members[i-1], members[i]) == 0 {
			return p.fail("an object has a key twice")
		}
	}
	text := append([]byte(nil), p.dst[open:]...)
	p.dst = p.dst[:open+1]
	for i, m := range members {
		if i > 0 {
			p.dst = append(p.dst, ',')
		}
		p.dst = append(p.dst, text[m.start-open:m.end-open]...)
	}
	p.dst = append(p.dst, '}')
	return nil
}

// compareKeys orders keys, as they stand in canonical JSON, by the code points
// they stand for, which for UTF-8 is the order of bytes.
func compareKeys(a, b []byte) int {
	for len(a) > 0 && len(b) > 0 {
		x, n := unescape(a)
		y, m := unescape(b)
		if x != y {
			return int(x) - int(y)
		}
		a, b = a[n:], b[m:]
	}
	return len(a) - len(b)
}

// unescape returns the first byte that canonical text stands for and how many
// bytes it is written with.
func unescape(s []byte) (byte, int) {
	if s[0] != '\\' {
		return s[0], 1
	}
	switch s[1] {
	case 'b':
		return '\b', 2
	case 't':
		return '\t', 2
	case 'n':
		return '\n', 2
	case 'f':
		return '\f', 2
	case 'r':
		return '\r', 2
	case 'u': // only control characters are written so
		return unhex(s[4])<<4 | unhex(s[5]), 6
	}
	return s[1], 2
}

func unhex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// number copies an integer. -0 is 0.
func (p *parser) number() error {
	start := p.pos
	if p.peek() == '-' {
		p.pos++
	}
	digits := p.pos
	var n uint64
	for p.peek() >= '0' && p.peek() <= '9' {
		n = n*10 + uint64(p.peek()-'0')
		p.pos++
		if p.pos-digits > 16 {
			return p.fail("a number is out of range")
		}
	}
	length := p.pos - digits
	switch {
	case length == 0, length > 1 && p.src[digits] == '0':
		return p.fail("not a number")
	case p.peek() == '.' || p.peek() == 'e' || p.peek() == 'E':
		return p.fail("a number isn't an integer")
	case n >= 1<<53:
		return p.fail("a number is out of range")
	case n == 0:
		p.dst = append(p.dst, '0')
	default:
		p.dst = append(p.dst, p.src[start:p.pos]...)
	}
	return nil
}

// text copies a string up to its closing quote, which it consumes but doesn't
// write, nor the opening one.
func (p *parser) text() error {
	p.pos++
	start := p.pos
	for p.pos < len(p.src) {
		switch c := p.src[p.pos]; {
		case c == '"':
			p.dst = append(p.dst, p.src[start:p.pos]...)
			p.pos++
			return nil
		case c == '\\':
			p.dst = append(p.dst, p.src[start:p.pos]...)
			if err := p.escape(); err != nil {
				return err
			}
			start = p.pos
		case c < 0x20:
			return p.fail("a control character in a string")
		case c < utf8.RuneSelf:
			p.pos++
		default:
			r, size := utf8.DecodeRune(p.src[p.pos:])
			if r == utf8.RuneError && size == 1 {
				return p.fail("invalid UTF-8")
			}
			p.pos += size
		}
	}
	return p.fail("a string doesn't end")
}

// escape copies one escaped character in its canonical form.
func (p *parser) escape() error {
	if p.pos+1 >= len(p.src) {
		return p.fail("a string doesn't end")
	}
	c := p.src[p.pos+1]
	p.pos += 2
	switch c {
	case '"', '\\':
		p.dst = append(p.dst, '\\', c)
	case '/':
		p.dst = append(p.dst, '/')
	case 'b', 'f', 'n', 'r', 't':
		p.dst = append(p.dst, '\\', c)
	case 'u':
		return p.unicode()
	default:
		return p.fail("an unknown escape")
	}
	return nil
}

// unicode copies \uXXXX, after the u.
func (p *parser) unicode() error {
	r, err := p.hex4()
	if err != nil {
		return err
	}
	if utf16.IsSurrogate(r) {
		if p.pos+1 >= len(p.src) || p.src[p.pos] != '\\' || p.src[p.pos+1] != 'u' {
			return p.fail("half a surrogate pair")
		}
		p.pos += 2
		low, err := p.hex4()
		if err != nil {
			return err
		}
		if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
			return p.fail("half a surrogate pair")
		}
	}
	p.dst = AppendEscaped(p.dst, string(r))
	return nil
}

func (p *parser) hex4() (rune, error) {
	if p.pos+4 > len(p.src) {
		return 0, p.fail("a string doesn't end")
	}
	var r rune
	for _, c := range p.src[p.pos : p.pos+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, p.fail("an unknown escape")
		}
	}
	p.pos += 4
	return r, nil
}

// AppendString appends s, which must be valid UTF-8, as a canonical JSON string.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = AppendEscaped(dst, s)
	return append(dst, '"')
}

// AppendEscaped is AppendString without the quotes.
func AppendEscaped(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, s[start:]...)
}
