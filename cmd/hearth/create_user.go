package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"hearth/internal/config"
	"hearth/internal/password"
	"hearth/internal/postgres"
	"hearth/internal/userid"
	"hearth/storage"
)

const createUserHelp = `Makes an account, whether the server is running or not. The password is asked for
on the terminal, or read from the first line of standard input with
--password-stdin.`

func (m *Main) createUser(ctx context.Context, c command, args []string) error {
	fs := m.flags(c)
	load := m.configFlag(fs)
	name := fs.String("username", "", "the `NAME` before the colon of the new user id")
	fromStdin := fs.Bool("password-stdin", false, "read the password from standard input")
	admin := fs.Bool("admin", false, "make the user an administrator of the server")
	if err := parse(fs, args); err != nil {
		return err
	}
	if *name == "" {
		return errors.New("create-user needs --username NAME")
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	id, err := userid.New(*name, cfg.ServerName)
	if err != nil {
		return err
	}
	secret, err := m.readPassword(*fromStdin)
	if err != nil {
		return err
	}
	if err := addUser(ctx, cfg, id, secret, *admin); err != nil {
		return err
	}
	fmt.Fprintf(m.Stdout, "Made the account %s.\n", id)
	return nil
}

func addUser(ctx context.Context, cfg *config.Config, id, secret string, admin bool) (err error) {
	hasher, err := password.New(cfg.Passwords.BcryptCost)
	if err != nil {
		return err
	}
	hash, err := hasher.Hash(ctx, secret)
	if err != nil {
		return err
	}
	db, closeDB, err := openDatabase(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeDB()) }()
	err = db.CreateUser(ctx, storage.User{ID: id, PasswordHash: hash, Admin: admin})
	if errors.Is(err, storage.ErrUserExists) {
		return fmt.Errorf("there is an account %s already", id)
	}
	return err
}

// openDatabase connects to the database of a server that may be running or not.
func openDatabase(ctx context.Context, cfg *config.Config) (db *storage.DB, close func() error, err error) {
	stop := func() error { return nil }
	dsn := cfg.Database
	if dsn == "" {
		cluster, err := postgres.Attach(ctx, postgres.Options{DataDir: cfg.DataDir})
		if err != nil {
			return nil, nil, err
		}
		stop, dsn = cluster.Stop, cluster.ConnString()
	}
	if db, err = storage.Open(ctx, dsn, storage.Options{MaxConnections: 2}); err != nil {
		return nil, nil, errors.Join(err, stop())
	}
	return db, func() error { return errors.Join(db.Close(), stop()) }, nil
}

// readPassword asks for a password twice, without showing it, or reads one line.
func (m *Main) readPassword(fromStdin bool) (string, error) {
	if fromStdin {
		line, err := bufio.NewReader(io.LimitReader(m.Stdin, 64<<10)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return checked(strings.TrimRight(line, "\r\n"))
	}
	fd := int(m.Stdin.Fd())
	if !term.IsTerminal(fd) {
		return "", errors.New("there is no terminal to ask for the password on: use --password-stdin")
	}
	first, err := m.ask(fd, "Password: ")
	if err != nil {
		return "", err
	}
	second, err := m.ask(fd, "Once more: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", errors.New("the two passwords differ")
	}
	return checked(first)
}

func checked(secret string) (string, error) { return secret, password.Check(secret) }

func (m *Main) ask(fd int, prompt string) (string, error) {
	fmt.Fprint(os.Stderr, prompt)
	text, err := term.ReadPassword(fd)
	fmt.Fprintln(os.Stderr)
	if err != nil {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	return string(text), nil
}
