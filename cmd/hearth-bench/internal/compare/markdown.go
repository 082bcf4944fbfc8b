package compare

import (
	"fmt"
	"strings"
)

// Markdown returns the table of ratios, the notes that belong to it and the
// table of all figures.
func (t *Table) Markdown() string {
	var b strings.Builder
	t.writeRatios(&b)
	t.writeNotes(&b)
	t.writeAll(&b)
	return b.String()
}

func (t *Table) writeRatios(b *strings.Builder) {
	b.WriteString("| work | figure |")
	for _, s := range t.servers {
		fmt.Fprintf(b, " %s |", s)
	}
	b.WriteString(" ratio | goal | |\n|---|---|" + strings.Repeat("---|", len(t.servers)+3) + "\n")
	for _, c := range t.comparisons() {
		figure := c.figure
		if c.unit != "" {
			figure += ", " + c.unit
		}
		ratio := ""
		if c.ratio > 0 {
			ratio = number(c.ratio) + "x"
		}
		fmt.Fprintf(b, "| %s: %s | %s | %s | %s | %s | %s |\n", c.caseID.scenario, c.name, figure, strings.Join(c.text, " | "), ratio, c.goal, c.met)
	}
	b.WriteString("\nMedians of the runs, with their range. A ratio says how many times better the first is, whichever way is better.\n")
}

func (t *Table) writeNotes(b *strings.Builder) {
	var notes []string
	for _, id := range t.cases {
		for _, s := range t.servers {
			c := t.cells[cellID{s, id}]
			if c == nil {
				continue
			}
			if c.void > 0 {
				notes = append(notes, fmt.Sprintf("%s, %s, %s: void in %d runs. %s", s, id.scenario, id.name, c.void, strings.Join(c.notes, "; ")))
			}
			if c.failure != "" {
				notes = append(notes, fmt.Sprintf("%s, %s, %s: did not finish. %s", s, id.scenario, id.name, c.failure))
			}
		}
	}
	if len(notes) == 0 {
		b.WriteString("No event was lost, doubled, misordered or changed in any run.\n")
		return
	}
	b.WriteString("\n† A void figure: in that run the server broke its promise that what is acknowledged is seen once, and in one order. " +
		"The ratio is shown all the same.\n\n")
	for _, n := range notes {
		fmt.Fprintf(b, "- %s\n", n)
	}
}

func (t *Table) writeAll(b *strings.Builder) {
	b.WriteString("\nAll figures:\n\n| work | figure |")
	for _, s := range t.servers {
		fmt.Fprintf(b, " %s |", s)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("---|", len(t.servers)) + "\n")
	for _, id := range t.cases {
		for _, figure := range t.figures(id) {
			fmt.Fprintf(b, "| %s: %s | %s |", id.scenario, id.name, t.withUnit(id, figure))
			for _, s := range t.servers {
				c := t.cells[cellID{s, id}]
				mid, low, high, ok := c.median(figure)
				fmt.Fprintf(b, " %s |", c.text(mid, low, high, ok))
			}
			b.WriteString("\n")
		}
	}
}

// figures lists the figures of a case, of whichever server has most.
func (t *Table) figures(id caseID) (names []string) {
	for _, s := range t.servers {
		if c := t.cells[cellID{s, id}]; c != nil && len(c.order) > len(names) {
			names = c.order
		}
	}
	return names
}

func (t *Table) withUnit(id caseID, figure string) string {
	for _, s := range t.servers {
		if c := t.cells[cellID{s, id}]; c != nil && c.units[figure] != "" {
			return figure + ", " + c.units[figure]
		}
	}
	return figure
}

func (c *cell) text(mid, low, high float64, ok bool) string {
	switch {
	case c == nil:
		return "–"
	case !ok && c.failure != "":
		return "did not finish"
	case !ok:
		return "–"
	}
	text := number(mid)
	if low != high {
		text += fmt.Sprintf(" (%s–%s)", number(low), number(high))
	}
	if c.void > 0 {
		text += " †"
	}
	return text
}

// number shows three digits.
func number(v float64) string {
	switch abs := max(v, -v); {
	case abs >= 100 || abs == 0 || abs == float64(int(abs)):
		return fmt.Sprintf("%.0f", v)
	case abs >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
