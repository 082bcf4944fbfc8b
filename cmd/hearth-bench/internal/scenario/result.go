package scenario

import (
	"fmt"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/procfs"
	"hearth/cmd/hearth-bench/internal/stats"
)

// Result is what one case of a scenario found.
type Result struct {
	Scenario string         `json:"scenario"`
	Case     string         `json:"case"`
	Figures  []Figure       `json:"figures"`
	Check    *check.Verdict `json:"check,omitempty"`
	Void     bool           `json:"void"`            // events were lost, doubled, misordered or changed
	Notes    []string       `json:"notes,omitempty"` // what a reader of the figures should know
	Error    string         `json:"error,omitempty"` // why the case did not finish
}

// Figure is one measured number.
type Figure struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit"`
	Value float64 `json:"value"`
}

// Figure finds a figure by name.
func (r *Result) Figure(name string) (Figure, bool) {
	for _, f := range r.Figures {
		if f.Name == name {
			return f, true
		}
	}
	return Figure{}, false
}

// OK tells whether the figures may be used.
func (r *Result) OK() bool { return !r.Void && r.Error == "" }

func (r *Result) add(name, unit string, value float64) {
	r.Figures = append(r.Figures, Figure{name, unit, value})
}

func (r *Result) note(format string, args ...any) {
	r.Notes = append(r.Notes, fmt.Sprintf(format, args...))
}

func (r *Result) judge(v check.Verdict) {
	r.Check, r.Void = &v, v.Void()
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (r *Result) latencies(prefix string, h *stats.Histogram) {
	for _, q := range []struct {
		name string
		d    time.Duration
	}{{"p50", h.Quantile(0.5)}, {"p90", h.Quantile(0.9)}, {"p99", h.Quantile(0.99)}, {"max", h.Max()}} {
		r.add(prefix+q.name, "ms", milliseconds(q.d))
	}
}

// per adds what each of n messages, or of other things, cost in CPU time between two readings.
func (r *Result) per(thing string, from, to procfs.Usage, n int64) {
	if n == 0 {
		return
	}
	micros := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(n) }
	if to.ServerCPU > 0 {
		r.add("server CPU/"+thing, "µs", micros(to.ServerCPU-from.ServerCPU))
	}
	if to.DatabaseCPU > 0 {
		r.add("database CPU/"+thing, "µs", micros(to.DatabaseCPU-from.DatabaseCPU))
		r.add("CPU/"+thing, "µs", micros(to.ServerCPU-from.ServerCPU+to.DatabaseCPU-from.DatabaseCPU))
	}
	r.add("tool CPU/"+thing, "µs", micros(to.ToolCPU-from.ToolCPU))
}

// cores adds what share of one core each side used between two readings.
func (r *Result) cores(from, to procfs.Usage) {
	percent := func(d time.Duration) float64 { return 100 * d.Seconds() / to.At.Sub(from.At).Seconds() }
	if to.ServerCPU > 0 {
		r.add("server CPU", "% of a core", percent(to.ServerCPU-from.ServerCPU))
	}
	if to.DatabaseCPU > 0 {
		r.add("database CPU", "% of a core", percent(to.DatabaseCPU-from.DatabaseCPU))
	}
	r.add("tool CPU", "% of a core", percent(to.ToolCPU-from.ToolCPU))
}
