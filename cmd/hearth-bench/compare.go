package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"hearth/cmd/hearth-bench/internal/compare"
	"hearth/cmd/hearth-bench/internal/scenario"
)

// compareCommand measures Hearth and Dendrite beside each other and prints the
// ratios. What goes wrong with Dendrite stands in the table; with Hearth it also
// decides how the command ends.
func compareCommand(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("hearth-bench compare", flag.ContinueOnError)
	p := compare.Plan{Options: scenario.Defaults(), Log: logf}
	p.Options.RoomVersion = "11" // the servers' defaults differ
	defineSizes(f, &p.Options)
	all, help := scenarioNames()
	names := f.String("scenario", all, help)
	f.IntVar(&p.Runs, "runs", 3, "how often each server is measured, from 1 to 20")
	f.BoolVar(&p.Fresh, "fresh", false, "forget the accounts and rooms that earlier comparisons made")
	hearth := f.String("hearth", "bin/hearth", "Hearth's `program`")
	dir := f.String("dir", defaultDir(), "`folder` for Dendrite's programs and both servers' data, outside of the sources")
	servers := f.String("servers", "hearth,dendrite", "`servers` to measure: hearth, dendrite, synapse")
	synapse := f.String("synapse", "synapse_homeserver", "Synapse's `program`, which isn't installed for you")
	document := f.String("markdown", "", "write the table into this Markdown `file` too")
	limit := f.Duration("time-limit", 6*time.Hour, "stop after this long, whatever happens")
	output := f.String("json", "", "write every result of every run as JSON to this `file`")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := p.Options.Validate(); err != nil {
		return err
	}
	if p.Runs < 1 || p.Runs > 20 {
		return fmt.Errorf("-runs %d: from 1 to 20", p.Runs)
	}
	p.Scenarios = strings.Split(*names, ",")
	ctx, cancel := context.WithTimeoutCause(ctx, *limit, fmt.Errorf("stopped after the time limit of %v", *limit))
	defer cancel()
	var err error
	if p.Servers, err = openServers(ctx, *servers, *hearth, *synapse, *dir); err != nil {
		return err
	}
	results, good := map[string]*report{}, true
	p.Report = func(server string, r *scenario.Result) {
		if results[server] == nil {
			results[server] = &report{Started: time.Now().UTC().Truncate(time.Second)}
		}
		good = good && (r.OK() || server != compare.HearthName)
		results[server].Results = append(results[server].Results, *r)
		fmt.Fprintf(os.Stderr, "%s ", server)
		printResult(os.Stderr, r)
	}
	table, failed := p.Run(ctx)
	if table != nil {
		fmt.Print(table.Markdown())
	}
	err = errors.Join(failed, writeJSON(*output, results))
	if err == nil && *document != "" {
		err = compare.WriteDocument(*document, table, strings.TrimSpace("hearth-bench compare "+strings.Join(args, " ")), p.Runs)
	}
	if err == nil && !good {
		err = errNotOK
	}
	return err
}

func openServers(ctx context.Context, names, hearth, synapse, dir string) ([]*compare.Server, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	var servers []*compare.Server
	for name := range strings.SplitSeq(names, ",") {
		var s *compare.Server
		switch name {
		case "hearth":
			s, err = compare.Hearth(hearth, dir)
		case "dendrite":
			s, err = compare.Dendrite(ctx, dir, logf)
		case "synapse":
			s, err = compare.Synapse(synapse, dir)
		default:
			err = fmt.Errorf("no server %q: there are hearth, dendrite and synapse", name)
		}
		if err != nil {
			return nil, err
		}
		servers = append(servers, s)
	}
	return servers, nil
}

func defaultDir() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	return filepath.Join(cache, "hearth-bench")
}
