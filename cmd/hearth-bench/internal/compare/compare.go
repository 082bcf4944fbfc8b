package compare

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"hearth/cmd/hearth-bench/internal/scenario"
)

// Plan is what to compare, and how.
type Plan struct {
	Servers   []*Server
	Scenarios []string
	Options   scenario.Options
	Runs      int  // of each server, alternating
	Fresh     bool // forget what earlier comparisons prepared
	Log       func(format string, args ...any)
	Report    func(server string, r *scenario.Result) // is told of every result
}

// Run runs the scenarios against each server in turn, several times over. Only
// the server under load runs.
func (p *Plan) Run(ctx context.Context) (*Table, error) {
	t := newTable(p.Servers)
	if p.Fresh {
		for _, s := range p.Servers {
			if err := os.RemoveAll(s.dir); err != nil {
				return nil, fmt.Errorf("forget earlier runs: %w", err)
			}
		}
	}
	for run := range p.Runs {
		for _, s := range p.Servers {
			p.Log("run %d of %d: %s", run+1, p.Runs, s.Name)
			if err := p.measure(ctx, s, t); err != nil {
				return t, err
			}
		}
	}
	for _, s := range p.Servers {
		p.Log("start times: %s", s.Name)
		if err := p.starts(ctx, s, t); err != nil {
			return t, err
		}
	}
	return t, nil
}

// measure runs every scenario once, each on a server that was just started.
func (p *Plan) measure(ctx context.Context, s *Server, t *Table) error {
	for _, name := range p.Scenarios {
		if err := s.start(ctx); err != nil {
			return err
		}
		err := p.scenario(ctx, s, name, t)
		if stop := s.stop(); stop != nil {
			p.Log("%v", stop)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Plan) scenario(ctx context.Context, s *Server, name string, t *Table) error {
	env, err := s.env(ctx, p.Options, p.Log)
	if err != nil {
		return err
	}
	return env.Run(ctx, []string{name}, func(r scenario.Result) {
		t.add(s.Name, &r)
		p.Report(s.Name, &r)
	})
}

// starts times the server's start on what is now a populated database, and for
// Hearth also that with the private PostgreSQL that it starts itself.
func (p *Plan) starts(ctx context.Context, s *Server, t *Table) error {
	if err := s.start(ctx); err != nil {
		return err
	}
	took, err := s.timeStarts(ctx, s.cluster.ConnString())
	if err == nil {
		t.add(s.Name, startResult("the server alone", took))
	}
	if stop := s.stop(); err == nil {
		err = stop
	}
	if err != nil || s.Name != HearthName {
		return err
	}
	took, err = s.timeStarts(ctx, "")
	if err == nil {
		t.add(s.Name, startResult("with its private PostgreSQL", took))
	}
	if stop := s.stop(); err == nil {
		err = stop
	}
	return err
}

func startResult(name string, took []time.Duration) *scenario.Result {
	slices.Sort(took)
	return &scenario.Result{Scenario: "start", Case: name, Figures: []scenario.Figure{
		{Name: "time", Unit: "ms", Value: float64(took[len(took)/2]) / float64(time.Millisecond)},
	}}
}
