package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Load reads a configuration file, applies the overrides in environ (as from
// os.Environ) and checks the result. Its error names every problem, each with the
// line it is on.
func Load(path string, environ []string) (*Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	c := Default("")
	l := loader{file: path, lines: map[string]int{}}
	l.read(c, text)
	l.override(c, environ)
	if len(l.problems) == 0 {
		l.validate(c)
	}
	if len(l.problems) > 0 {
		return nil, errors.Join(l.problems...)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("finding the configuration's folder: %w", err)
	}
	if !filepath.IsAbs(c.DataDir) {
		c.DataDir = filepath.Join(dir, c.DataDir)
	}
	c.Federation.absolute(dir)
	c.SSO.absolute(dir)
	return c, nil
}

// loader collects what is wrong with a file.
type loader struct {
	file     string
	lines    map[string]int // where each key stands
	problems []error
}

// problem notes what is wrong with a key, and where it was set.
func (l *loader) problem(path, format string, args ...any) {
	where := l.file
	if line := l.lines[path]; line > 0 {
		where = fmt.Sprintf("%s:%d", l.file, line)
	}
	l.problems = append(l.problems, fmt.Errorf("%s: %s: %s", where, path, fmt.Sprintf(format, args...)))
}

func (l *loader) read(c *Config, text []byte) {
	file, err := parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		var syntax yaml.Error
		line := 0
		if errors.As(err, &syntax) && syntax.GetToken() != nil {
			line = syntax.GetToken().Position.Line
			err = errors.New(syntax.GetMessage())
		}
		l.problems = append(l.problems, fmt.Errorf("%s:%d: not YAML: %w", l.file, line, err))
		return
	}
	for _, doc := range file.Docs {
		if doc.Body != nil {
			l.group(doc.Body, reflect.ValueOf(c).Elem(), "")
		}
	}
}

// group reads the keys of a mapping into a struct.
func (l *loader) group(node ast.Node, group reflect.Value, path string) {
	if node.Type() == ast.NullType {
		return
	}
	m, ok := node.(ast.MapNode)
	if !ok {
		l.problem(path, "must be a group of keys")
		return
	}
	known := children(group, path)
	for it := m.MapRange(); it.Next(); {
		name := it.Key().GetToken().Value
		full := strings.TrimPrefix(path+"."+name, ".")
		first := l.lines[full]
		l.lines[full] = it.Key().GetToken().Position.Line
		if first != 0 {
			l.problem(full, "is there twice, first on line %d", first)
			continue
		}
		k, ok := find(known, full)
		switch {
		case !ok:
			l.unknown(full, known)
		case k.isGroup():
			l.group(it.Value(), k.value, full)
		case k.isGroups():
			l.groups(k, it.Value())
		default:
			l.scalar(k, it.Value())
		}
	}
}

// groups reads a list of mappings into a slice of structs.
func (l *loader) groups(k key, node ast.Node) {
	if node.Type() == ast.NullType {
		return
	}
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		l.problem(k.path, "must be a list of groups of keys")
		return
	}
	k.value.SetZero()
	for i, item := range sequence.Values {
		group := k.element()
		l.group(item, group, fmt.Sprintf("%s[%d]", k.path, i))
		k.value.Set(reflect.Append(k.value, group))
	}
}

func find(keys []key, path string) (key, bool) {
	for _, k := range keys {
		if k.path == path {
			return k, true
		}
	}
	return key{}, false
}

func (l *loader) unknown(path string, siblings []key) {
	var names []string
	for _, k := range siblings {
		names = append(names, k.path)
	}
	for _, k := range Default("").leaves() {
		names = append(names, k.path)
	}
	if guess := nearest(path, names); guess != "" {
		l.problem(path, "there is no such key; did you mean %s?", guess)
		return
	}
	l.problem(path, "there is no such key")
}

func (l *loader) scalar(k key, node ast.Node) {
	if node.Type() == ast.NullType {
		return // left empty: the default
	}
	if list, ok := k.value.Addr().Interface().(*List); ok {
		l.list(k, list, node)
		return
	}
	scalar, ok := node.(ast.ScalarNode)
	if !ok {
		l.problem(k.path, "must be a single value")
		return
	}
	if err := k.set(scalar.GetToken().Value); err != nil {
		l.problem(k.path, "%v", err)
	}
}

func (l *loader) list(k key, list *List, node ast.Node) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		l.problem(k.path, "must be a list, such as [a, b]")
		return
	}
	*list = nil
	for _, item := range sequence.Values {
		scalar, ok := item.(ast.ScalarNode)
		if !ok {
			l.problem(k.path, "must be a list of single values")
			return
		}
		*list = append(*list, scalar.GetToken().Value)
	}
}

// override applies HEARTH_… variables. One that is nearly a key's name is refused;
// others may be somebody else's.
func (l *loader) override(c *Config, environ []string) {
	byEnv := map[string]key{}
	var names []string
	for _, k := range c.leaves() {
		byEnv[k.env()] = k
		names = append(names, k.env())
	}
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "HEARTH_") {
			continue
		}
		k, ok := byEnv[name]
		if !ok {
			if guess := nearest(name, names); guess != "" && editDistance(name, guess) <= 3 {
				l.problems = append(l.problems, fmt.Errorf("environment: %s: there is no such key; did you mean %s?", name, guess))
			}
			continue
		}
		if err := k.set(value); err != nil {
			l.problems = append(l.problems, fmt.Errorf("environment: %s: %w", name, err))
		}
	}
}
