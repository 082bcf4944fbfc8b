package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"hearth/cmd/hearth-bench/internal/scenario"
)

// runCommand runs scenarios and prints what they found.
func runCommand(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("hearth-bench run", flag.ContinueOnError)
	var s server
	s.define(f)
	o := scenario.Defaults()
	defineSizes(f, &o)
	all, help := scenarioNames()
	names := f.String("scenario", all, help)
	output := f.String("json", "", "write the results as JSON to this `file`; - is the standard output, in place of the table")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := o.Validate(); err != nil {
		return err
	}
	ctx, done, env, err := s.open(ctx, o)
	if err != nil {
		return err
	}
	defer done()
	r := report{URL: s.url, Started: time.Now().UTC().Truncate(time.Second)}
	failed := env.Run(ctx, strings.Split(*names, ","), func(res scenario.Result) {
		r.Results = append(r.Results, res)
		if *output != "-" {
			printResult(os.Stdout, &res)
		}
	})
	if err := writeJSON(*output, r); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	for _, res := range r.Results {
		if !res.OK() {
			return errNotOK
		}
	}
	return nil
}

// report is the JSON output.
type report struct {
	URL     string            `json:"url,omitempty"`
	Started time.Time         `json:"started"`
	Results []scenario.Result `json:"results"`
}

// writeJSON writes a value to a file, or to the standard output for "-".
func writeJSON(file string, v any) error {
	if file == "" {
		return nil
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	if b = append(b, '\n'); file == "-" {
		_, err = os.Stdout.Write(b)
	} else {
		err = os.WriteFile(file, b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the results: %w", err)
	}
	return nil
}
