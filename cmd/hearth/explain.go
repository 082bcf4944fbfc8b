package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"hearth/federationapi/client"
	"hearth/internal/certificate"
)

const federationHelp = `Looks for another homeserver as this one would with this configuration, and says in
words what it finds: where the name leads, whether the connection and its
certificate are good, and with which keys the server signs. The server of the
configuration needn't run.`

func (m *Main) federation(ctx context.Context, c command, args []string) error {
	if len(args) < 2 || args[0] != "explain" || strings.HasPrefix(args[1], "-") {
		fs := m.flags(c)
		m.configFlag(fs)
		if err := fs.Parse(args); err != nil {
			return err
		}
		return errors.New("write it as: federation explain SERVER --config FILE")
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
	return client.Explain(ctx, client.Options{
		ServerName: cfg.ServerName, RootCAs: pool, InsecureSkipVerify: !f.VerifyCertificates,
		Allow: f.AllowServers, Deny: f.DenyServers, AllowPrivateRanges: f.AllowPrivateRanges,
	}, args[1], func(line string) { fmt.Fprintln(m.Stdout, line) })
}
