package compare

import (
	"slices"

	"hearth/cmd/hearth-bench/internal/scenario"
)

// Table collects the results of all runs of all servers.
type Table struct {
	servers []string
	cases   []caseID // in the order in which they first came
	cells   map[cellID]*cell
}

type caseID struct{ scenario, name string }

type cellID struct {
	server string
	caseID
}

// cell is what the runs of one case on one server found.
type cell struct {
	order   []string // names of figures
	units   map[string]string
	values  map[string][]float64
	void    int
	notes   []string // of the last void run
	failure string   // of the last run that did not finish
}

func newTable(servers []*Server) *Table {
	t := &Table{cells: map[cellID]*cell{}}
	for _, s := range servers {
		t.servers = append(t.servers, s.Name)
	}
	return t
}

func (t *Table) add(server string, r *scenario.Result) {
	id := caseID{r.Scenario, r.Case}
	if !slices.Contains(t.cases, id) {
		t.cases = append(t.cases, id)
	}
	c := t.cells[cellID{server, id}]
	if c == nil {
		c = &cell{units: map[string]string{}, values: map[string][]float64{}}
		t.cells[cellID{server, id}] = c
	}
	if r.Error != "" {
		c.failure = r.Error
		return // half a measurement is none
	}
	if r.Void {
		c.void++
		c.notes = append([]string{r.Check.String()}, r.Notes...)
	}
	for _, f := range r.Figures {
		if _, known := c.units[f.Name]; !known {
			c.order = append(c.order, f.Name)
			c.units[f.Name] = f.Unit
		}
		c.values[f.Name] = append(c.values[f.Name], f.Value)
	}
}

// median returns the median of a figure over the runs, and its range.
func (c *cell) median(figure string) (mid, low, high float64, ok bool) {
	if c == nil || len(c.values[figure]) == 0 {
		return 0, 0, 0, false
	}
	v := slices.Sorted(slices.Values(c.values[figure]))
	mid = v[len(v)/2]
	if len(v)%2 == 0 {
		mid = (mid + v[len(v)/2-1]) / 2
	}
	return mid, v[0], v[len(v)-1], true
}

// comparison is one row of the table of ratios.
type comparison struct {
	caseID
	row
	unit  string
	text  []string // one of each server
	ratio float64  // first server to second, more is better; 0 unknown
	goal  string
	met   string
}

func (t *Table) comparisons() []comparison {
	var all []comparison
	for _, id := range t.cases {
		found := false
		for _, w := range rows {
			if w.scenario != id.scenario {
				continue
			}
			if c, ok := t.compare(id, w); ok {
				all, found = append(all, c), true
			}
		}
		if !found {
			all = append(all, t.unfinished(id))
		}
	}
	return all
}

func (t *Table) compare(id caseID, w row) (c comparison, found bool) {
	c = comparison{caseID: id, row: w}
	mids := make([]float64, len(t.servers))
	for i, server := range t.servers {
		cell := t.cells[cellID{server, id}]
		mid, low, high, ok := cell.median(w.figure)
		if ok {
			found, mids[i], c.unit = true, mid, cell.units[w.figure]
		}
		c.text = append(c.text, cell.text(mid, low, high, ok))
	}
	if len(mids) == 2 && mids[0] > 0 && mids[1] > 0 {
		if c.ratio = mids[0] / mids[1]; !w.higher {
			c.ratio = 1 / c.ratio
		}
	}
	if t.servers[0] == HearthName {
		c.judge(goals[[3]string{id.scenario, id.name, w.figure}], mids[0], t.cells[cellID{HearthName, id}])
	}
	return c, found
}

// unfinished is the row of a case that no server finished.
func (t *Table) unfinished(id caseID) comparison {
	c := comparison{caseID: id}
	for _, server := range t.servers {
		c.text = append(c.text, t.cells[cellID{server, id}].text(0, 0, 0, false))
	}
	return c
}

// judge holds the first server's figure against the goal.
func (c *comparison) judge(g goal, value float64, own *cell) {
	met := false
	switch {
	case g.ratio > 0:
		c.goal = "≥ " + number(g.ratio) + "x"
		met = c.ratio >= g.ratio
		if c.ratio == 0 {
			return
		}
	case g.bound > 0 && c.higher:
		c.goal = "≥ " + number(g.bound)
		met = value >= g.bound
	case g.bound > 0:
		c.goal = "≤ " + number(g.bound)
		met = value <= g.bound
	default:
		return
	}
	switch {
	case own == nil || len(own.values) == 0:
		c.met = "not measured"
	case own.void > 0:
		c.met = "void"
	case met:
		c.met = "met"
	default:
		c.met = "missed"
	}
}
