package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"text/tabwriter"

	"hearth/internal/config"
	"hearth/internal/postgres"
	"hearth/mediaapi"
	"hearth/storage"
)

const mediaHelp = `usage says what the media take. prune deletes what nobody has asked for in the given
time (by default what the configuration says); with --dry-run it only says what would go.
Pictures of users and rooms, and what is protected or quarantined, stay. Files are
deleted by the server within the hour, or when it next starts. copy --to s3 copies all
files into the bucket that media.s3 names, copy --to disk from there into data_dir; what is
there already isn't copied again. It can run while the server does; with --move, for
which the server must be stopped, files are deleted where they came from.`

func (m *Main) media(ctx context.Context, c command, args []string) error {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	fs := m.flags(c)
	load := m.configFlag(fs)
	switch args[0] {
	case "usage":
		return m.withMedia(ctx, fs, args[1:], load, m.mediaUsage)
	case "prune":
		var local, remote config.Age
		fs.Func("local", "delete uploads that nobody has asked for in this `AGE`, such as 365d", func(s string) error { return local.UnmarshalText([]byte(s)) })
		fs.Func("remote", "the same for other servers' media and pictures of previews", func(s string) error { return remote.UnmarshalText([]byte(s)) })
		user := fs.String("user", "", "only uploads of this `USER`")
		dry := fs.Bool("dry-run", false, "only say what would go")
		return m.withMedia(ctx, fs, args[1:], load, func(ctx context.Context, cfg *config.Config, db *storage.DB) error {
			if local == 0 && remote == 0 {
				local, remote = cfg.Media.LocalRetention, cfg.Media.RemoteRetention
			}
			policy := retention(config.Media{LocalRetention: local, RemoteRetention: remote})
			return m.pruneMedia(ctx, db, policy, *user, *dry)
		})
	case "copy":
		to := fs.String("to", "", "where the files are to be: `s3 or disk`")
		move := fs.Bool("move", false, "delete the files where they came from")
		return m.withMedia(ctx, fs, args[1:], load, func(ctx context.Context, cfg *config.Config, db *storage.DB) error {
			return m.copyMedia(ctx, cfg, db, *to, *move)
		})
	}
	if err := fs.Parse(args); err != nil {
		return err
	}
	return errors.New("write it as: media usage --config FILE, media prune --config FILE [--dry-run], or media copy --to s3|disk --config FILE")
}

// withMedia runs f on the configuration's database, whether the server runs or not.
func (m *Main) withMedia(ctx context.Context, fs *flag.FlagSet, args []string, load func() (*config.Config, error), f func(context.Context, *config.Config, *storage.DB) error) (err error) {
	if err := parse(fs, args); err != nil {
		return err
	}
	cfg, err := load()
	if err != nil {
		return err
	}
	dsn := cfg.Database
	if dsn == "" {
		cluster, err := postgres.Attach(ctx, postgres.Options{DataDir: cfg.DataDir})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, cluster.Stop()) }()
		dsn = cluster.ConnString()
	}
	db, err := storage.Open(ctx, dsn, storage.Options{MaxConnections: 2})
	if err != nil {
		return err
	}
	defer db.Close()
	return f(ctx, cfg, db)
}

func (m *Main) mediaUsage(ctx context.Context, _ *config.Config, db *storage.DB) error {
	u, err := db.MediaUsage(ctx)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(m.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "media\tfiles\tMiB\t \n")
	row := func(name string, media, files, bytes int64) {
		fmt.Fprintf(w, "%d\t%d\t%.1f\t %s\n", media, files, float64(bytes)/(1<<20), name)
	}
	row("uploaded by users", u.Local.Media, u.LocalFiles, u.Local.Bytes)
	row("of other servers and previews", u.Remote.Media, u.RemoteFiles, u.Remote.Bytes)
	row("quarantined among these", u.Quarantined.Media, u.QuarantinedFiles, u.Quarantined.Bytes)
	row("that nothing refers to any more", 0, u.UnusedFiles, u.UnusedBytes)
	return w.Flush()
}

func (m *Main) pruneMedia(ctx context.Context, db *storage.DB, policy mediaapi.Policy, user string, dry bool) error {
	if policy == (mediaapi.Policy{}) {
		return errors.New("the configuration keeps media for ever: say what is to go with --local or --remote")
	}
	if err := mediaapi.FollowMentions(ctx, db); err != nil {
		return err
	}
	for _, b := range policy.Bounds() {
		if b.UserID = user; b.Remote && user != "" {
			continue
		}
		kind := "of users' uploads"
		if b.Remote {
			kind = "of what can be fetched again"
		}
		would, err := db.CountMedia(ctx, b)
		if err != nil {
			return err
		}
		if dry {
			fmt.Fprintf(m.Stdout, "Would delete %d %s, of %.1f MiB.\n", would.Media, kind, float64(would.Bytes)/(1<<20))
			continue
		}
		n, err := mediaapi.Delete(ctx, db, b, nil)
		if err != nil {
			return err
		}
		fmt.Fprintf(m.Stdout, "Deleted %d %s, of %.1f MiB.\n", n, kind, float64(would.Bytes)/(1<<20))
	}
	return nil
}

func (m *Main) copyMedia(ctx context.Context, cfg *config.Config, db *storage.DB, to string, move bool) error {
	b := bucket(cfg.Media)
	if to != "s3" && to != "disk" {
		return errors.New("say where the files are to be: --to s3 or --to disk")
	}
	if b == nil {
		return errors.New("the configuration names no bucket (media.s3.bucket)")
	}
	if move {
		unlock, err := lockDataDir(cfg.DataDir)
		if err != nil {
			return err
		}
		defer unlock()
	}
	c, err := mediaapi.Copy(ctx, db, cfg.DataDir, b, to == "s3", move)
	if err != nil {
		return err
	}
	fmt.Fprintf(m.Stdout, "Copied %d files, of %.1f MiB; %d were there already.\n", c.Files, float64(c.Bytes)/(1<<20), c.There)
	if c.Missing > 0 {
		return fmt.Errorf("%d files are known but were nowhere to be found", c.Missing)
	}
	return nil
}
