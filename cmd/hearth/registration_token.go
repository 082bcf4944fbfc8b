package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"hearth/storage"
)

const registrationTokenHelp = `Tokens let people make accounts where registration.require_token is set, whether the
server is running or not. create prints a new token, or stores the one that is given;
list prints all, delete ends one.`

// tokenGrammar is that of opaque identifiers.
var tokenGrammar = regexp.MustCompile(`^[A-Za-z0-9._~-]{1,64}$`)

// maxTokensListed bounds what list prints.
const maxTokensListed = 10_000

func (m *Main) registrationToken(ctx context.Context, c command, args []string) (err error) {
	fs := m.flags(c)
	load := m.configFlag(fs)
	uses := fs.Int("uses", 0, "create: how many accounts the token is good for; 0 is any `NUMBER`")
	expires := fs.Duration("expires", 0, "create: after which `DURATION`, such as 48h, it ends; 0 is never")
	verb, token := "", ""
	for _, word := range []*string{&verb, &token} {
		if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
			*word, args = args[0], args[1:]
		}
	}
	if err := parse(fs, args); err != nil {
		return err
	}
	switch {
	case !slices.Contains([]string{"create", "list", "delete"}, verb):
		return errors.New("write it as: registration-token create|list|delete [TOKEN] --config FILE")
	case verb == "delete" && token == "":
		return errors.New("write it as: registration-token delete TOKEN --config FILE")
	case token != "" && !tokenGrammar.MatchString(token):
		return errors.New("a token is 1 to 64 of the characters A-Z a-z 0-9 . _ ~ -")
	case *uses < 0 || *expires < 0:
		return errors.New("--uses and --expires can't be negative")
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	db, closeDB, err := openDatabase(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeDB()) }()
	switch verb {
	case "create":
		return m.createToken(ctx, db, storage.RegistrationToken{Token: token, UsesAllowed: *uses}, *expires)
	case "delete":
		err := db.DeleteRegistrationToken(ctx, token)
		if errors.Is(err, storage.ErrNotFound) {
			return fmt.Errorf("there is no token %s", token)
		}
		return err
	}
	return m.listTokens(ctx, db)
}

func (m *Main) createToken(ctx context.Context, db *storage.DB, t storage.RegistrationToken, expires time.Duration) error {
	if t.Token == "" {
		t.Token = rand.Text()
	}
	if expires > 0 {
		t.ExpiresAt = time.Now().Add(expires)
	}
	err := db.AddRegistrationToken(ctx, t)
	if storage.IsUniqueViolation(err) {
		return fmt.Errorf("there is a token %s already", t.Token)
	}
	if err == nil {
		fmt.Fprintln(m.Stdout, t.Token)
	}
	return err
}

func (m *Main) listTokens(ctx context.Context, db *storage.DB) error {
	list, err := db.RegistrationTokens(ctx, maxTokensListed)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TOKEN\tUSES\tALLOWED\tEXPIRES")
	for _, t := range list {
		allowed, expires := "any", "never"
		if t.UsesAllowed > 0 {
			allowed = fmt.Sprint(t.UsesAllowed)
		}
		if !t.ExpiresAt.IsZero() {
			expires = t.ExpiresAt.Format(time.RFC3339)
		}
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", t.Token, t.Uses, allowed, expires)
	}
	return w.Flush()
}
