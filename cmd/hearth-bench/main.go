// Command hearth-bench measures a Matrix homeserver on this machine: how fast
// it sends, delivers and syncs, and whether it keeps what it acknowledged.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `hearth-bench measures a Matrix homeserver that runs on this machine.

Usage:
  hearth-bench [run] --url http://127.0.0.1:8008 [flags]    run scenarios
  hearth-bench populate --url … --events 1000000 [flags]    make the server big
  hearth-bench start-time --url … -- COMMAND …              time from start to first answer
  hearth-bench compare [flags]                              Hearth beside Dendrite

hearth-bench COMMAND --help explains the flags of each.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := command(ctx, os.Args[1:])
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errNotOK):
		os.Exit(1)
	default:
		fmt.Fprintln(os.Stderr, "hearth-bench:", err)
		os.Exit(2)
	}
}

// errNotOK ends the program with status 1: the results, already printed, have
// a void or unfinished one among them.
var errNotOK = errors.New("not every result is good")

func command(ctx context.Context, args []string) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return errors.New("no server was given")
	}
	switch args[0] {
	case "run":
		return runCommand(ctx, args[1:])
	case "populate":
		return populateCommand(ctx, args[1:])
	case "start-time":
		return startTimeCommand(ctx, args[1:])
	case "compare":
		return compareCommand(ctx, args[1:])
	case "help", "-h", "--help":
		fmt.Print(usage)
		return nil
	}
	return runCommand(ctx, args)
}

func logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
