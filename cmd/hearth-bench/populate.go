package main

import (
	"context"
	"flag"

	"hearth/cmd/hearth-bench/internal/scenario"
)

// populateCommand makes a server big, to measure it then.
func populateCommand(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("hearth-bench populate", flag.ContinueOnError)
	var s server
	s.define(f)
	g := scenario.Growth{Rooms: 1000, Events: 100_000, Workers: 32}
	f.IntVar(&g.Rooms, "rooms", g.Rooms, "rooms to create")
	f.IntVar(&g.Members, "members", g.Members, "members of each, besides its owner")
	f.IntVar(&g.Events, "events", g.Events, "messages to write, spread over the rooms")
	f.IntVar(&g.Workers, "workers", g.Workers, "requests on their way at a time")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := g.Validate(); err != nil {
		return err
	}
	ctx, done, env, err := s.open(ctx, scenario.Defaults())
	if err != nil {
		return err
	}
	defer done()
	return env.Populate(ctx, g)
}
