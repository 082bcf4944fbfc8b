// Command hearth is the homeserver and its tools; hearth --help tells about them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"hearth/internal/config"
)

// version is set by the build to what git describes.
var version = "development"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	m := &Main{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Environ: os.Environ()}
	if err := m.Run(ctx, os.Args[1:]); err != nil {
		if !errors.Is(err, errUsage) {
			fmt.Fprintln(os.Stderr, "hearth:", err)
		}
		os.Exit(1)
	}
}

// Main is the program, apart from the process it runs in.
type Main struct {
	Stdin          *os.File
	Stdout, Stderr io.Writer
	Environ        []string
}

// errUsage ends the program after the usage was printed.
var errUsage = errors.New("wrong usage")

// command is one of the program's verbs.
type command struct {
	name, args, about, help string
	run                     func(m *Main, ctx context.Context, c command, args []string) error
}

func commands() []command {
	return []command{
		{"serve", "--config FILE", "run the homeserver", serveHelp, (*Main).serve},
		{"create-user", "--config FILE --username NAME [--password-stdin] [--admin]", "make an account", createUserHelp, (*Main).createUser},
		{"registration-token", "create|list|delete [TOKEN] --config FILE [--uses N] [--expires DURATION]", "let people with a token make accounts", registrationTokenHelp, (*Main).registrationToken},
		{"generate-config", "--server-name NAME [--data-dir DIR] [--set key.path=value …]", "print a complete configuration", generateHelp, (*Main).generateConfig},
		{"check-config", "--config FILE", "say what is wrong with a configuration", checkHelp, (*Main).checkConfig},
		{"federation", "explain SERVER|rotate-key --config FILE", "say step by step how another server is reached, or why not; sign with a new key", federationHelp, (*Main).federation},
		{"media", "usage|prune|copy --config FILE …", "say what media take, delete what nobody asks for, move them to another storage", mediaHelp, (*Main).media},
		{"version", "", "print the version", "", (*Main).version},
	}
}

// Run runs one command line, without the program's name.
func (m *Main) Run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		m.usage(m.Stderr)
		return errUsage
	}
	if args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		m.usage(m.Stdout)
		return nil
	}
	for _, c := range commands() {
		if c.name == args[0] {
			err := c.run(m, ctx, c, args[1:])
			if errors.Is(err, flag.ErrHelp) {
				return nil
			}
			return err
		}
	}
	fmt.Fprintf(m.Stderr, "hearth: there is no command %q\n\n", args[0])
	m.usage(m.Stderr)
	return errUsage
}

func (m *Main) usage(w io.Writer) {
	fmt.Fprint(w, "Hearth is a Matrix homeserver.\n\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  hearth %s %s\n        %s\n", c.name, c.args, c.about)
	}
	fmt.Fprint(w, `
To begin:

  hearth generate-config --server-name example.org > homeserver.yaml
  hearth serve --config homeserver.yaml
  hearth create-user --config homeserver.yaml --username alice --admin

hearth COMMAND --help tells more about each command.
`)
}

// flags returns the command's flag set, which prints its help on --help.
func (m *Main) flags(c command) *flag.FlagSet {
	fs := flag.NewFlagSet(c.name, flag.ContinueOnError)
	fs.SetOutput(m.Stderr)
	fs.Usage = func() {
		fmt.Fprintf(m.Stderr, "hearth %s %s\n\n%s\n", c.name, c.args, c.help)
		fs.PrintDefaults()
	}
	return fs
}

// parse reads the flags and refuses what is left over.
func parse(fs *flag.FlagSet, args []string) error {
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage // flag has said what is wrong
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%s takes no argument %q", fs.Name(), fs.Arg(0))
	}
	return nil
}

// configFlag adds --config; the function it returns loads what it names.
func (m *Main) configFlag(fs *flag.FlagSet) func() (*config.Config, error) {
	path := fs.String("config", "", "the configuration `FILE`")
	return func() (*config.Config, error) {
		if *path == "" {
			return nil, fmt.Errorf("%s needs --config FILE", fs.Name())
		}
		return config.Load(*path, m.Environ)
	}
}

const generateHelp = `Prints a complete configuration with a comment on every key. --set may be given
any number of times: --set registration.enabled=true.`

func (m *Main) generateConfig(_ context.Context, c command, args []string) error {
	fs := m.flags(c)
	name := fs.String("server-name", "", "the `NAME` of the homeserver, such as example.org")
	dataDir := fs.String("data-dir", "", "the data `DIR`")
	var sets []string
	fs.Func("set", "a `key.path=value` that differs from the default", func(s string) error {
		sets = append(sets, s)
		return nil
	})
	if err := parse(fs, args); err != nil {
		return err
	}
	if *name == "" {
		return errors.New("generate-config needs --server-name NAME")
	}
	text, err := config.Generate(*name, *dataDir, sets)
	if err != nil {
		return err
	}
	_, err = io.WriteString(m.Stdout, text)
	return err
}

const checkHelp = `Reads a configuration as serve would and names everything that is wrong with it.`

func (m *Main) checkConfig(_ context.Context, c command, args []string) error {
	fs := m.flags(c)
	load := m.configFlag(fs)
	if err := parse(fs, args); err != nil {
		return err
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	fmt.Fprintf(m.Stdout, "The configuration of %s is fine.\n", cfg.ServerName)
	return nil
}

func (m *Main) version(_ context.Context, c command, args []string) error {
	if err := parse(m.flags(c), args); err != nil {
		return err
	}
	fmt.Fprintf(m.Stdout, "hearth %s (%s %s/%s)\n", versionName(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return nil
}

// versionName is the version with which the program was built.
func versionName() string {
	if version != "development" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return version
}
