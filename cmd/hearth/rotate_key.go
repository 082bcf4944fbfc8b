package main

import (
	"errors"
	"fmt"
	"io/fs"

	"hearth/internal/signingkey"
)

// rotateKey gives the server another key to sign with.
//
// https://spec.matrix.org/v1.19/server-server-api/#publishing-keys
func (m *Main) rotateKey(c command, args []string) error {
	flags := m.flags(c)
	load := m.configFlag(flags)
	if err := parse(flags, args); err != nil {
		return err
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	old, key, kept, err := signingkey.Rotate(cfg.DataDir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("this server has never run: it makes its key when it is started (%w)", err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(m.Stdout, "The key is %s now: start Hearth again, and it signs with it. %s is published as old from then on.\n"+
		"It was kept in %s: delete that, unless you want to go back.\n", key.ID, old.ID, kept)
	return err
}
