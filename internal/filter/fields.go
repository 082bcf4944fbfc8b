package filter

import (
	"strings"

	"github.com/tidwall/gjson"
)

// fields is event_fields as a tree: which members of an object to keep. A nil
// child keeps the member whole.
type fields map[string]*fields

// newFields reads dot-separated paths; a backslash takes a dot or a backslash as
// it is.
//
// https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths
func newFields(paths []string) *fields {
	root := fields{}
	for _, path := range paths {
		at := &root
		parts := splitPath(path)
		for i, part := range parts {
			next, known := (*at)[part]
			if i == len(parts)-1 || known && next == nil {
				(*at)[part] = nil // keeping all of it covers keeping a part
				break
			}
			if !known {
				next = &fields{}
				(*at)[part] = next
			}
			at = next
		}
	}
	return &root
}

func splitPath(path string) []string {
	var parts []string
	var part strings.Builder
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case c == '\\' && i+1 < len(path) && (path[i+1] == '.' || path[i+1] == '\\'):
			i++
			part.WriteByte(path[i])
		case c == '.':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(c)
		}
	}
	return append(parts, part.String())
}

// append appends what is to be kept of a JSON object.
func (f *fields) append(b []byte, object gjson.Result) []byte {
	b = append(b, '{')
	first := true
	object.ForEach(func(key, value gjson.Result) bool {
		child, kept := (*f)[key.String()]
		if !kept || child != nil && !value.IsObject() {
			return true
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(b, key.Raw...), ':')
		if child == nil {
			b = append(b, value.Raw...)
		} else {
			b = child.append(b, value)
		}
		return true
	})
	return append(b, '}')
}

// Fields keeps only the event_fields of an event given as JSON.
func (f *Sync) Fields(event []byte) []byte {
	if len(f.EventFields) == 0 {
		return event
	}
	return f.fields.append(make([]byte, 0, len(event)), gjson.ParseBytes(event))
}
