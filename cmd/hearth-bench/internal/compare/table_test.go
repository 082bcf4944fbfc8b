package compare

import (
	"strings"
	"testing"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/scenario"
)

func TestTableHoldsMediansAgainstGoals(t *testing.T) {
	table := newTable([]*Server{{Name: "Hearth"}, {Name: "Dendrite"}})
	add := func(server, scen, name string, void bool, figures ...scenario.Figure) {
		r := &scenario.Result{Scenario: scen, Case: name, Figures: figures, Void: void, Check: &check.Verdict{Acknowledged: 10}}
		if void {
			r.Check.Lost = 3
		}
		table.add(server, r)
	}
	for i, rate := range []float64{2500, 900, 2000} {
		add("Hearth", "send", "1 in rooms of their own", false, scenario.Figure{Name: "rate", Unit: "messages/s", Value: rate})
		add("Dendrite", "send", "1 in rooms of their own", i == 1, scenario.Figure{Name: "rate", Unit: "messages/s", Value: 100})
		add("Hearth", "send", "8 in rooms of their own", i == 1, scenario.Figure{Name: "rate", Unit: "messages/s", Value: 9000})
		add("Dendrite", "send", "8 in rooms of their own", false, scenario.Figure{Name: "rate", Unit: "messages/s", Value: 100})
		add("Hearth", "start", "the server alone", false, scenario.Figure{Name: "time", Unit: "ms", Value: 300})
	}
	table.add("Hearth", &scenario.Result{Scenario: "fanout", Case: "100 clients, 10 messages/s", Figures: []scenario.Figure{{Name: "last client p99", Unit: "ms", Value: 40}}})
	table.add("Dendrite", &scenario.Result{Scenario: "fanout", Case: "100 clients, 10 messages/s", Error: "no answer"})
	text := table.Markdown()
	for _, want := range []string{
		"| send: 1 in rooms of their own | rate, messages/s | 2000 (900–2500) | 100 † | 20x | ≥ 10x | met |",
		"| send: 8 in rooms of their own | rate, messages/s | 9000 † | 100 | 90x | ≥ 18x | void |",
		"| start: the server alone | time, ms | 300 | – |  | ≤ 200 | missed |",
		"| fanout: 100 clients, 10 messages/s | last client p99, ms | 40 | did not finish |  | ≤ 50 | met |",
		"- Dendrite, send, 1 in rooms of their own: void in 1 runs. 10 acknowledged, 3 lost,",
		"- Dendrite, fanout, 100 clients, 10 messages/s: did not finish. no answer",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, text)
		}
	}
}
