package main

import (
	"context"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"hearth/cmd/hearth-bench/internal/pgstat"
	"hearth/cmd/hearth-bench/internal/procfs"
	"hearth/cmd/hearth-bench/internal/scenario"
	"hearth/cmd/hearth-bench/internal/wire"
)

// server is the flags that name the server under load.
type server struct {
	url          string
	sharedSecret string
	pids         list
	database     int
	db           string
	state        string
	limit        time.Duration
}

func (s *server) define(f *flag.FlagSet) {
	f.StringVar(&s.url, "url", "", "base `URL` of the homeserver's client API; loopback only")
	f.StringVar(&s.sharedSecret, "shared-secret", "", "register accounts through /_synapse/admin/v1/register with this `secret` instead of openly")
	f.Var(&s.pids, "server-pid", "process `IDs` of the homeserver, separated by commas: its CPU and memory are reported")
	f.IntVar(&s.database, "db-pid", 0, "process `ID` of PostgreSQL's postmaster: it and its children are reported")
	f.StringVar(&s.db, "db", "", "connection `string` of the homeserver's database: its work per message is reported, and --db-pid is found")
	f.StringVar(&s.state, "state", "", "`file` that remembers accounts and rooms, so that later runs need not make them again")
	f.DurationVar(&s.limit, "time-limit", 2*time.Hour, "stop after this long, whatever happens")
}

// open connects. The context it returns ends at the time limit; done frees what
// was opened.
func (s *server) open(ctx context.Context, o scenario.Options) (_ context.Context, done func(), _ *scenario.Env, err error) {
	target, err := wire.ParseTarget(ctx, s.url)
	if err != nil {
		return nil, nil, nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.limit, fmt.Errorf("stopped after the time limit of %v", s.limit))
	o.SharedSecret = s.sharedSecret
	e := scenario.Env{Options: o, Target: target, Log: logf, Watch: procfs.Watch{Server: s.pids, Database: s.database}}
	done = func() {
		cancel()
		if e.DB != nil {
			_ = e.DB.Close()
		}
	}
	if s.db != "" {
		if e.DB, err = pgstat.Open(ctx, s.db); err == nil && s.database == 0 {
			e.Watch.Database, err = e.DB.Postmaster(ctx)
		}
	}
	var env *scenario.Env
	if err == nil {
		env, err = scenario.Open(ctx, e, s.state)
	}
	if err != nil {
		done()
		return nil, nil, nil, err
	}
	return ctx, done, env, nil
}

// list is a flag of numbers separated by commas. An empty one is allowed.
type list []int

func (l *list) String() string {
	parts := make([]string, len(*l))
	for i, n := range *l {
		parts[i] = strconv.Itoa(n)
	}
	return strings.Join(parts, ",")
}

// Set implements flag.Value.
func (l *list) Set(s string) error {
	*l = nil
	for part := range strings.SplitSeq(s, ",") {
		if part == "" {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return fmt.Errorf("%q is not a number", part)
		}
		*l = append(*l, n)
	}
	return nil
}

// defineSizes defines a flag for every size in o, whose values are the defaults.
func defineSizes(f *flag.FlagSet, o *scenario.Options) {
	f.StringVar(&o.RoomVersion, "room-version", o.RoomVersion, "`version` of new rooms; empty: the server's default")
	f.DurationVar(&o.Duration, "duration", o.Duration, "how long each measurement takes")
	f.DurationVar(&o.Warmup, "warmup", o.Warmup, "how long the load runs before each measurement")
	f.DurationVar(&o.Settle, "settle", o.Settle, "idle, mixed: how long the server comes to rest before its memory is read")
	f.Var((*list)(&o.Senders), "senders", "send: senders in rooms of their own")
	f.Var((*list)(&o.OneRoom), "one-room", "send: senders in one room")
	f.Var((*list)(&o.Clients), "clients", "fanout: waiting clients")
	f.Float64Var(&o.FanoutRate, "fanout-rate", o.FanoutRate, "fanout: messages per second")
	f.Var((*list)(&o.FullSpeed), "full-speed", "fanout: waiting clients while the sender is at full speed")
	f.Var((*list)(&o.Idle), "idle", "idle: connections")
	f.DurationVar(&o.Poll, "poll", o.Poll, "how long a waiting client lets one /sync wait")
	f.Var((*list)(&o.Rooms), "rooms", "sync-first: rooms of the user; sync-empty takes the first number")
	f.IntVar(&o.RoomMessages, "room-messages", o.RoomMessages, "sync-first: messages in each room")
	f.IntVar(&o.History, "history", o.History, "messages: events in the room")
	f.IntVar(&o.Members, "members", o.Members, "bigroom: members")
	f.IntVar(&o.Creators, "creators", o.Creators, "createroom: users at a time")
	f.Var((*list)(&o.MediaSizes), "media-sizes", "media: sizes of the files, in KiB")
	f.IntVar(&o.MediaClients, "media-clients", o.MediaClients, "media: clients at a time")
	f.IntVar(&o.People, "people", o.People, "mixed: people connected")
	f.Float64Var(&o.Rate, "rate", o.Rate, "mixed: messages per second")
	f.Float64Var(&o.Overload, "overload", o.Overload, "overload: multiple of the measured capacity")
	f.IntVar(&o.Connections, "connections", o.Connections, "overload: senders")
}

// scenarioNames returns the default of --scenario and what to say about it.
func scenarioNames() (all, help string) {
	names, what := scenario.Names()
	var b strings.Builder
	b.WriteString("`scenarios` to run, separated by commas:")
	for i, n := range names {
		fmt.Fprintf(&b, "\n  %-11s %s", n, what[i])
	}
	return strings.Join(names, ","), b.String()
}
