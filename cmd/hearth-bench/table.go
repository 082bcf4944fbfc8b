package main

import (
	"fmt"
	"io"

	"hearth/cmd/hearth-bench/internal/scenario"
)

// printResult prints one result for people to read.
func printResult(w io.Writer, r *scenario.Result) {
	title := r.Scenario
	if r.Case != "" {
		title += ": " + r.Case
	}
	fmt.Fprintf(w, "%s\n", title)
	void := ""
	if r.Void {
		void = "  VOID"
	}
	for _, f := range r.Figures {
		fmt.Fprintf(w, "  %-26s %12s %s%s\n", f.Name, number(f.Value), f.Unit, void)
	}
	if r.Check != nil {
		fmt.Fprintf(w, "  %-26s %v, %d readers\n", "check", r.Check, r.Check.Readers)
	}
	for _, n := range r.Notes {
		fmt.Fprintf(w, "  note: %s\n", n)
	}
	if r.Error != "" {
		fmt.Fprintf(w, "  DID NOT FINISH: %s\n", r.Error)
	}
	fmt.Fprintln(w)
}

// number shows three digits or more.
func number(v float64) string {
	switch abs := max(v, -v); {
	case abs >= 100 || abs == 0:
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
