package scenario

import (
	"testing"
	"time"

	"hearth/cmd/hearth-bench/internal/check"
	"hearth/cmd/hearth-bench/internal/wire"
)

// small is every scenario in little.
func small() Options {
	return Options{
		Duration: 150 * time.Millisecond, Warmup: 20 * time.Millisecond, Settle: 50 * time.Millisecond,
		Senders: []int{2}, OneRoom: []int{3}, Clients: []int{5}, FanoutRate: 100, FullSpeed: []int{5},
		Idle: []int{5}, Poll: time.Second, Rooms: []int{2, 4}, RoomMessages: 8, History: 30, Members: 0,
		Creators: 2, People: 12, Rate: 100, Overload: 1.5, Connections: 40,
		MediaSizes: []int{1, 300}, MediaClients: 2,
	}
}

func run(t *testing.T, f fault, o Options, names ...string) []Result {
	t.Helper()
	target, err := wire.ParseTarget(t.Context(), startFake(t, f).URL)
	if err != nil {
		t.Fatal(err)
	}
	e, err := Open(t.Context(), Env{Options: o, Target: target, Log: t.Logf}, t.TempDir()+"/state.json")
	if err != nil {
		t.Fatal(err)
	}
	var results []Result
	if err := e.Run(t.Context(), names, func(r Result) { results = append(results, r) }); err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Error != "" {
			t.Errorf("%s, %s: %s", r.Scenario, r.Case, r.Error)
		}
	}
	return results
}

// TestAHealthyServerIsFoundHealthy runs the scenarios that check what they read,
// against a server that cuts its timelines short all the time.
func TestAHealthyServerIsFoundHealthy(t *testing.T) {
	results := run(t, "", small(), "send", "fanout", "sync-empty", "messages", "createroom", "mixed", "media", "overload", "idle")
	checked := 0
	for _, r := range results {
		if r.Void {
			t.Errorf("%s, %s is void: %v %q", r.Scenario, r.Case, r.Check, r.Notes)
		}
		if r.Check != nil {
			checked += r.Check.Acknowledged
		}
	}
	if len(results) != 16 || checked == 0 {
		t.Errorf("%d results, %d acknowledged messages", len(results), checked)
	}
}

func TestBrokenPromisesAreFound(t *testing.T) {
	for f, count := range map[fault]func(check.Verdict) int{
		loses:    func(v check.Verdict) int { return v.Lost },
		unlimits: func(v check.Verdict) int { return v.Lost },
		doubles:  func(v check.Verdict) int { return v.Doubled },
		swaps:    func(v check.Verdict) int { return v.Misordered },
		renames:  func(v check.Verdict) int { return v.Changed },
	} {
		for _, r := range run(t, f, small(), "send", "fanout") {
			if f == unlimits && r.Scenario == "send" {
				continue // who was away sees only the newest in /sync itself
			}
			if !r.Void || count(*r.Check) == 0 {
				t.Errorf("a server that %s: %s, %s found %v", f, r.Scenario, r.Case, r.Check)
			}
		}
	}
}

func TestRefusalIsNoBrokenPromise(t *testing.T) {
	for _, r := range run(t, refuses, small(), "send", "overload") {
		if r.Void {
			t.Errorf("%s, %s is void: %v", r.Scenario, r.Case, r.Check)
		}
		if failed, _ := r.Figure("failed"); failed.Value == 0 {
			t.Errorf("%s, %s counts no failure", r.Scenario, r.Case)
		}
	}
}
