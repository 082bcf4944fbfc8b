package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"hearth/federationapi"
	"hearth/federationapi/client"
	"hearth/internal/certificate"
	"hearth/internal/config"
	"hearth/internal/signingkey"
)

const federationHelp = `explain SERVER looks for another homeserver as this one would with this configuration, and says in
words what it finds: where the name leads, whether the connection and its
certificate are good, with which keys the server signs, whether it takes what this
one signs, and what waits to be sent to it. The server of the configuration needn't
run.

rotate-key puts a new signing key in the place of the present one. Hearth signs with
it from when it is started again, and publishes the old one as old from then on.`

func (m *Main) federation(ctx context.Context, c command, args []string) error {
	if len(args) > 0 && args[0] == "rotate-key" {
		return m.rotateKey(c, args[1:])
	}
	if len(args) < 2 || args[0] != "explain" || strings.HasPrefix(args[1], "-") {
		fs := m.flags(c)
		m.configFlag(fs)
		if err := fs.Parse(args); err != nil {
			return err
		}
		return errors.New("write it as: federation explain SERVER --config FILE, or: federation rotate-key --config FILE")
	}
	fs := m.flags(c)
	load := m.configFlag(fs)
	if err := parse(fs, args[2:]); err != nil {
		return err
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	f := cfg.Federation
	if !f.Enabled {
		fmt.Fprintln(m.Stdout, "Federation is off in this configuration (federation.enabled); this is what it would find.")
	}
	pool, err := certificate.Pool(f.TrustedCAFiles)
	if err != nil {
		return err
	}
	say := func(line string) { fmt.Fprintln(m.Stdout, line) }
	o := client.Options{
		ServerName: cfg.ServerName, RootCAs: pool, InsecureSkipVerify: !f.VerifyCertificates,
		Allow: f.AllowServers, Deny: f.DenyServers, AllowPrivateRanges: f.AllowPrivateRanges,
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, signingkey.FileName)); errors.Is(err, os.ErrNotExist) {
		say("This server has never run: it has no key and sends nothing yet.")
		return client.Explain(ctx, o, args[1], say)
	}
	key, err := signingkey.Load(cfg.DataDir)
	if err != nil {
		return err
	}
	o.KeyID, o.PrivateKey = key.ID, key.Private
	found := client.Explain(ctx, o, args[1], say)
	if found != nil && !errors.Is(found, client.ErrExplained) {
		return found
	}
	return errors.Join(found, explainQueue(ctx, cfg, args[1], say))
}

// explainQueue says what waits to be sent to a server, as the database knows it.
func explainQueue(ctx context.Context, cfg *config.Config, server string, say func(string)) error {
	db, closeDB, err := openDatabase(ctx, cfg)
	if err != nil {
		return fmt.Errorf("what waits to be sent isn't known: %w", err)
	}
	return errors.Join(federationapi.ExplainQueue(ctx, db, cfg.ServerName, server, say), closeDB())
}
