package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
)

// Generate returns a complete, commented configuration. Each of sets is
// "key.path=value".
func Generate(serverName, dataDir string, sets []string) (string, error) {
	c := Default(serverName)
	if dataDir != "" {
		c.DataDir = dataDir
	}
	l := loader{file: "--set"}
	for _, s := range sets {
		path, value, ok := strings.Cut(s, "=")
		k, known := find(c.leaves(), path)
		switch {
		case !ok:
			l.problems = append(l.problems, fmt.Errorf("--set %s: write it as key.path=value", s))
		case !known:
			l.unknown(path, nil)
		default:
			if err := k.set(value); err != nil {
				l.problem(path, "%v", err)
			}
		}
	}
	if len(l.problems) == 0 {
		l.validate(c)
	}
	return c.sample(), errors.Join(l.problems...)
}

// sample is the file that says what c says.
func (c *Config) sample() string {
	var b strings.Builder
	b.WriteString("# Hearth's configuration. Every key but server_name may be left out; what stands\n" +
		"# here otherwise is its default. Each can be overridden by an environment variable:\n" +
		"# listen.client by HEARTH_LISTEN_CLIENT. Changes take effect at the next start.\n")
	writeGroup(&b, children(reflect.ValueOf(c).Elem(), ""), "")
	return b.String()
}

func writeGroup(b *strings.Builder, keys []key, indent string) {
	for _, k := range keys {
		if indent == "" {
			b.WriteString("\n")
		}
		if k.doc != "" {
			for line := range strings.SplitSeq(k.doc, "\n") {
				fmt.Fprintf(b, "%s# %s\n", indent, line)
			}
		}
		if k.isGroup() {
			fmt.Fprintf(b, "%s%s:\n", indent, k.name())
			writeGroup(b, children(k.value, k.path), indent+"  ")
			continue
		}
		fmt.Fprintf(b, "%s%s: %s\n", indent, k.name(), k.text())
		if k.isGroups() {
			writeExample(b, children(k.element(), k.path), indent)
		}
	}
}

// writeExample writes a group of a list as a comment.
func writeExample(b *strings.Builder, keys []key, indent string) {
	var example strings.Builder
	writeGroup(&example, keys, "  ")
	for i, line := range strings.Split(strings.TrimSuffix(example.String(), "\n"), "\n") {
		if i == 0 { // a list's item begins with its first key, documented or not
			line = "-" + line[1:]
		}
		fmt.Fprintf(b, "%s# %s\n", indent, line)
	}
}

// Markdown is docs/configuration.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString("# Configuration\n\n" +
		"One YAML file, by default `homeserver.yaml`; `hearth generate-config --server-name example.org` prints a complete one, " +
		"and `hearth check-config --config FILE` says what is wrong with yours, with the line and the nearest key. " +
		"Only `server_name` must be set. Every key can be overridden by the environment variable in its row. " +
		"Changes take effect at the next start.\n\n" +
		"This page is generated from the program's own types.\n\n" +
		"| key | default | environment | |\n|---|---|---|---|\n")
	for _, k := range Default("").documented() {
		env := "`" + k.env() + "`"
		if k.isGroups() || strings.Contains(k.path, "[]") {
			env = ""
		}
		doc := strings.ReplaceAll(strings.ReplaceAll(k.doc, "\n", " "), "|", "\\|")
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", k.path, k.text(), env, doc)
	}
	return b.String()
}
