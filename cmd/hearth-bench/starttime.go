package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"time"

	"hearth/cmd/hearth-bench/internal/compare"
	"hearth/cmd/hearth-bench/internal/wire"
)

// startTimeCommand starts a server several times and tells how long it took
// until it answered.
func startTimeCommand(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("hearth-bench start-time", flag.ContinueOnError)
	url := f.String("url", "", "`URL` at which the server will answer; loopback only")
	runs := f.Int("runs", 3, "how often, from 1 to 100; the median counts")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() == 0 || *runs < 1 || *runs > 100 {
		return errors.New("start-time --url URL [--runs N] -- COMMAND …")
	}
	target, err := wire.ParseTarget(ctx, *url)
	if err != nil {
		return err
	}
	var took []time.Duration
	for range *runs {
		p, err := compare.StartProcess(ctx, target, f.Args(), compare.ProcessOptions{})
		if err != nil {
			return err
		}
		took = append(took, p.StartTime)
		fmt.Printf("first answer after %v\n", p.StartTime.Round(time.Millisecond))
		if err := p.Stop(); err != nil {
			return err
		}
	}
	slices.Sort(took)
	fmt.Printf("median %v\n", took[len(took)/2].Round(time.Millisecond))
	return nil
}
