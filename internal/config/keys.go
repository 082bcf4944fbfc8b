package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// key is one key of the file: a value, or a group of keys.
type key struct {
	path  string // such as listen.client
	doc   string
	value reflect.Value // addressable
}

func (k key) name() string { return k.path[strings.LastIndexByte(k.path, '.')+1:] }

// env is the environment variable that overrides the key.
func (k key) env() string {
	return "HEARTH_" + strings.ToUpper(strings.ReplaceAll(k.path, ".", "_"))
}

func (k key) isGroup() bool { return k.value.Kind() == reflect.Struct }

// isGroups reports whether the key is a list of groups.
func (k key) isGroups() bool {
	return k.value.Kind() == reflect.Slice && k.value.Type().Elem().Kind() == reflect.Struct
}

// element is a new group for a list of them, with its defaults.
func (k key) element() reflect.Value {
	group := reflect.New(k.value.Type().Elem())
	if d, ok := group.Interface().(interface{ setDefaults() }); ok {
		d.setDefaults()
	}
	return group.Elem()
}

// children lists the keys of a group, in the order of the file.
func children(group reflect.Value, path string) []key {
	var keys []key
	for i := range group.NumField() {
		f := group.Type().Field(i)
		name := f.Tag.Get("yaml")
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		if path != "" {
			name = path + "." + name
		}
		keys = append(keys, key{name, f.Tag.Get("doc"), group.Field(i)})
	}
	return keys
}

// leaves lists every value of the configuration but those in lists of groups.
func (c *Config) leaves() []key {
	var all []key
	for _, k := range c.documented() {
		if !k.isGroups() && !strings.Contains(k.path, "[]") {
			all = append(all, k)
		}
	}
	return all
}

// documented lists what leaves does, lists of groups, and the values of a group such as
// they hold.
func (c *Config) documented() []key {
	var all []key
	var walk func(keys []key)
	walk = func(keys []key) {
		for _, k := range keys {
			if k.isGroup() {
				walk(children(k.value, k.path))
				continue
			}
			all = append(all, k)
			if k.isGroups() {
				walk(children(k.element(), k.path+"[]"))
			}
		}
	}
	walk(children(reflect.ValueOf(c).Elem(), ""))
	return all
}

// set gives the key a value written as text.
func (k key) set(text string) error {
	if u, ok := k.value.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return u.UnmarshalText([]byte(text))
	}
	switch k.value.Kind() {
	case reflect.Bool:
		switch strings.ToLower(text) {
		case "true":
			k.value.SetBool(true)
		case "false":
			k.value.SetBool(false)
		default:
			return fmt.Errorf("%q is neither true nor false", text)
		}
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is no whole number", text)
		}
		k.value.SetInt(int64(n))
	case reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return fmt.Errorf("%q is no number", text)
		}
		k.value.SetFloat(x)
	default:
		k.value.SetString(text)
	}
	return nil
}

// text is the key's value as it stands in the file.
func (k key) text() string {
	if m, ok := k.value.Interface().(encoding.TextMarshaler); ok {
		text, _ := m.MarshalText() // ours never fail
		return string(text)
	}
	if k.isGroups() {
		return "[]" // what there are has no default
	}
	if k.value.Kind() != reflect.String {
		return fmt.Sprint(k.value.Interface())
	}
	s := k.value.String()
	if s == "" || strings.ContainsAny(s, "#'\"{}[],&*!|>%@`\\\n") || strings.Contains(s, ": ") || isNumber(s) {
		return strconv.Quote(s)
	}
	return s
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

// nearest returns the candidate most like name, "" if none is.
func nearest(name string, candidates []string) string {
	best, distance := "", len(name)/2+1
	for _, c := range candidates {
		if d := editDistance(name, c); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// editDistance is the number of insertions, deletions and substitutions that make
// b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
