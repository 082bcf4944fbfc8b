// Package scenario holds the work that the load tool puts on a homeserver, one
// file per scenario.
package scenario

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"hearth/cmd/hearth-bench/internal/matrix"
	"hearth/cmd/hearth-bench/internal/pgstat"
	"hearth/cmd/hearth-bench/internal/procfs"
	"hearth/cmd/hearth-bench/internal/wire"
)

// Env is the server under load and what has been prepared on it.
type Env struct {
	Options
	Target wire.Target
	Watch  procfs.Watch
	DB     *pgstat.DB // the server's database, for its statistics; may be nil
	Log    func(format string, args ...any)
	state  *state
}

// Open checks that the server answers and recalls what an earlier run prepared
// on it, if statePath is not empty and the server still knows those accounts.
func Open(ctx context.Context, e Env, statePath string) (*Env, error) {
	var err error
	if e.state, err = loadState(statePath); err != nil {
		return nil, err
	}
	c := matrix.NewClient(ctx, e.Target, matrix.Account{})
	defer c.Close()
	if err := c.Versions(); err != nil {
		return nil, fmt.Errorf("ask the server for its versions: %w", err)
	}
	if _, err := e.Watch.CPU(); err != nil {
		return nil, err
	}
	for _, group := range e.state.Accounts {
		if len(group) == 0 {
			continue
		}
		c.Account = group[0]
		if err := c.Whoami(); matrix.Unauthorized(err) {
			e.Log("the server no longer knows the remembered accounts: starting anew")
			e.state.reset()
		} else if err != nil {
			return nil, err
		}
		break
	}
	return &e, nil
}

// scenario runs all cases of one kind of work and hands each result to report
// as it comes. An error ends the scenario.
type scenario struct {
	name string
	what string
	run  func(ctx context.Context, e *Env, report func(Result)) error
}

var all = []scenario{
	{"send", "messages/s and latency for senders in rooms of their own, and all in one room", runSend},
	{"fanout", "one sender at 10/s, and at full speed, to clients that wait in the room", runFanout},
	{"idle", "memory and CPU of clients that wait and get nothing", runIdle},
	{"sync-first", "the first sync of a user in many rooms", runSyncFirst},
	{"sync-empty", "incremental syncs with nothing new, of a user in many rooms", runSyncEmpty},
	{"messages", "a long history read backwards", runMessages},
	{"bigroom", "members, joined_members, state and a join of a room with many members", runBigRoom},
	{"createroom", "rooms created, 8 at a time", runCreateRoom},
	{"media", "files uploaded and downloaded, and thumbnails of photos", runMedia},
	{"mixed", "many people connected, and messages among them", runMixed},
	{"overload", "more messages than the server can carry", runOverload},
}

// Names lists the scenarios with what each does.
func Names() (names, what []string) {
	for _, s := range all {
		names, what = append(names, s.name), append(what, s.what)
	}
	return names, what
}

// Run runs the named scenarios, in the order of Names, and hands over each
// result as it comes. A scenario that fails is a result too; the next still runs.
func (e *Env) Run(ctx context.Context, names []string, report func(Result)) error {
	known, _ := Names()
	for _, n := range names {
		if !slices.Contains(known, n) {
			return fmt.Errorf("no scenario %q: there are %s", n, strings.Join(known, ", "))
		}
	}
	for _, s := range all {
		if !slices.Contains(names, s.name) {
			continue
		}
		e.Log("%s: %s", s.name, s.what)
		err := s.run(ctx, e, func(r Result) {
			r.Scenario = s.name
			report(r)
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			report(Result{Scenario: s.name, Error: err.Error()})
		}
	}
	return nil
}

func (e *Env) client(ctx context.Context, a matrix.Account) *matrix.Client {
	return matrix.NewClient(ctx, e.Target, a)
}

// sleep waits, unless the context ends first.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
