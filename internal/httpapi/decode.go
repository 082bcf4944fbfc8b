package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"unicode/utf8"
)

// MaxDepth bounds the nesting of objects and arrays in request bodies.
const MaxDepth = 100

// DecodeJSON decodes the request's body into v. The errors are M_NOT_JSON for a
// body that isn't JSON in UTF-8, M_BAD_JSON for one of the wrong shape or too
// deep, and M_TOO_LARGE.
func DecodeJSON(r *http.Request, v any) error {
	body, err := ReadJSON(r)
	if err != nil {
		return err
	}
	return Unmarshal(body, v)
}

// DecodeOptionalJSON is DecodeJSON for endpoints whose body may be left out: an
// empty one counts as {}.
func DecodeOptionalJSON(r *http.Request, v any) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	if err := checkJSON(body, MaxDepth); err != nil {
		return err
	}
	return Unmarshal(body, v)
}

// ReadOptionalJSON returns the request's body, which is nil for an empty one, or one
// valid JSON object.
func ReadOptionalJSON(r *http.Request) (json.RawMessage, error) {
	return ReadNestedJSON(r, MaxDepth)
}

// ReadNestedJSON is ReadOptionalJSON for a body that nests otherwise than MaxDepth says.
func ReadNestedJSON(r *http.Request, depth int) (json.RawMessage, error) {
	body, err := readBody(r)
	if err != nil || len(bytes.TrimSpace(body)) == 0 {
		return nil, err
	}
	return body, checkJSON(body, depth)
}

// ReadJSON returns the request's body, which is one valid JSON object.
func ReadJSON(r *http.Request) (json.RawMessage, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	if err := checkJSON(body, MaxDepth); err != nil {
		return nil, err
	}
	return body, nil
}

// Unmarshal decodes valid JSON into v; a wrong shape is M_BAD_JSON.
func Unmarshal(body []byte, v any) error {
	err := json.Unmarshal(body, v)
	var shape *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &shape) && shape.Field != "":
		return BadJSON("%s must not be a JSON %s", shape.Field, shape.Value)
	case errors.As(err, &shape):
		return BadJSON("The body must not be a JSON %s", shape.Value)
	}
	var e *Error
	if errors.As(err, &e) { // from an UnmarshalJSON of ours
		return e
	}
	return BadJSON("The body has the wrong shape: %s", err)
}

func readBody(r *http.Request) ([]byte, error) {
	var buf bytes.Buffer
	if n := r.ContentLength; n > 0 && n <= DefaultMaxBody {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(r.Body)
	var limit *http.MaxBytesError
	switch {
	case err == nil:
		if w, ok := r.Context().Value(requestKey{}).(*response); ok && buf.Len() <= maxReplay {
			w.body = buf.Bytes() // should the request be parked
		}
		return buf.Bytes(), nil
	case errors.As(err, &limit):
		return nil, tooLarge(limit.Limit)
	case r.Context().Err() != nil:
		return nil, r.Context().Err()
	case errors.Is(err, io.ErrUnexpectedEOF):
		return nil, NotJSON("The body is shorter than announced")
	default:
		e := NotJSON("The body could not be read")
		e.Err = err
		return nil, e
	}
}

func tooLarge(limit int64) *Error {
	return TooLarge("The body is larger than %d bytes", limit)
}

// checkJSON makes sure that body is one JSON object in UTF-8, not nested deeper
// than depth.
func checkJSON(body []byte, depth int) error {
	if !utf8.Valid(body) {
		return NotJSON("The body is not valid UTF-8")
	}
	if Depth(body) > depth {
		return BadJSON("The body is nested too deeply")
	}
	if !json.Valid(body) {
		return NotJSON("The body is not valid JSON")
	}
	if bytes.TrimLeft(body, " \t\r\n")[0] != '{' {
		return BadJSON("The body must be a JSON object")
	}
	return nil
}

// Depth returns how deeply JSON text is nested, without decoding it. For text
// that isn't JSON the number is meaningless.
func Depth(text []byte) int {
	depth, deepest := 0, 0
	inString := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}
