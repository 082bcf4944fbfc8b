package compare

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"
)

// What stands between these in a document is replaced; the rest is left alone.
const (
	beginMark = "<!-- hearth-bench compare: begin -->"
	endMark   = "<!-- hearth-bench compare: end -->"
)

// WriteDocument puts the table into a Markdown file, between the marks that an
// earlier one stands between, or at the end.
func WriteDocument(file string, t *Table, command string, runs int) error {
	old, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write the table: %w", err)
	}
	table := fmt.Sprintf("%s\n%s, %s. Runs of each, alternating: %d. Command: `%s`\n\n%s\n%s\n",
		beginMark, time.Now().UTC().Format("2 January 2006"), machine(), runs, command, t.Markdown(), endMark)
	before, rest, found := strings.Cut(string(old), beginMark)
	_, after, closed := strings.Cut(rest, endMark+"\n")
	switch {
	case !found && len(old) == 0:
		before = "# Performance\n\n"
	case !found:
		before += "\n"
	case !closed:
		return fmt.Errorf("write the table: %s has %q without %q", file, beginMark, endMark)
	}
	if err := os.WriteFile(file, []byte(before+table+after), 0o644); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}

// machine describes what the figures were measured on.
func machine() string {
	words := []string{fmt.Sprintf("%d cores", runtime.NumCPU())}
	if model := procLine("/proc/cpuinfo", "model name"); model != "" {
		words[0] += " of " + model
	}
	if memory := procLine("/proc/meminfo", "MemTotal"); memory != "" {
		var kb int
		if _, err := fmt.Sscan(memory, &kb); err == nil {
			words = append(words, fmt.Sprintf("%.0f GiB of memory", float64(kb)/(1<<20)))
		}
	}
	if version, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		words = append(words, "Linux "+strings.TrimSpace(string(version)))
	}
	return strings.Join(append(words, runtime.Version()), ", ")
}

func procLine(file, name string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
