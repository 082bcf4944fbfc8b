package search

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"hearth/internal/userid"
	"hearth/internal/words"
	"hearth/storage"
)

// PeopleOptions are those of NewPeople. DB and ServerName are required.
type PeopleOptions struct {
	DB         *storage.DB
	ServerName string
	// AllLocal lets users find everybody on this server, not only those whom they could
	// meet in a room.
	AllLocal bool
	Logger   *slog.Logger
}

// People is the user directory. All methods are safe for concurrent use.
type People struct {
	o  PeopleOptions
	db *storage.DB
	// mu lets one at a time bring the directory up to date.
	mu   sync.Mutex
	stop context.CancelFunc
	done chan struct{}
}

const (
	// refresh is how many entries are written at once.
	refresh = 1000
	// maxCandidates bounds the people among whom those are chosen that fit best.
	maxCandidates = 200
)

// NewPeople starts bringing the directory up to date.
func NewPeople(o PeopleOptions) *People {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	p := &People{o: o, db: o.DB, done: make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go func() {
		defer close(p.done)
		if err := p.catchUp(ctx); err != nil && ctx.Err() == nil {
			p.o.Logger.Error("filling the user directory failed", "err", err)
		}
	}()
	return p
}

// Stop ends what NewPeople has started.
func (p *People) Stop() {
	p.stop()
	<-p.done
}

// catchUp brings the directory up to date. Who has just changed their name is found by
// it, so that every search does; usually there is next to nothing to do.
func (p *People) catchUp(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := refresh; n == refresh; {
		var err error
		if n, err = p.db.RefreshPeople(ctx, refresh, personWords); err != nil {
			return err
		}
	}
	other := func(userID string) bool { return userid.Domain(userID) != p.o.ServerName }
	for n := refresh; n == refresh; {
		var err error
		if n, err = p.db.FollowPeople(ctx, refresh, other, personWords); err != nil {
			return err
		}
	}
	return nil
}

// personWords is the text of a tsvector with what somebody is found by.
func personWords(p storage.Person) string {
	var b strings.Builder
	local, _, _ := userid.Split(p.UserID)
	seen := map[string]bool{}
	for _, w := range words.Of(p.DisplayName + " " + local) {
		if !seen[w.Term] {
			seen[w.Term] = true
			b.WriteString(quote(w.Term) + " ")
		}
	}
	return b.String()
}

// Find returns up to limit people that the asker may find and whose name or id has
// words that begin like those of the term, and whether there are more.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch
func (p *People) Find(ctx context.Context, asker, term string, limit int) (people []storage.Person, more bool, err error) {
	if err := p.catchUp(ctx); err != nil {
		return nil, false, err
	}
	q := storage.PeopleQuery{Asker: asker}
	if p.o.AllLocal {
		q.LocalSuffix = ":" + p.o.ServerName
	}
	term = strings.TrimSpace(term)
	if strings.HasPrefix(term, "@") {
		q.IDPrefix = term
		if !strings.Contains(term, ":") {
			term = term[1:]
		} else {
			term, _, _ = strings.Cut(term[1:], ":")
		}
	}
	list := words.Of(term)
	var parts []string
	for _, w := range words.Query(list, maxTerms) {
		parts = append(parts, quote(w.Term)+":*")
	}
	q.Query = strings.Join(parts, " & ")
	if q.Query == "" && q.IDPrefix == "" {
		return nil, false, nil
	}
	found, err := p.db.FindPeople(ctx, q, max(maxCandidates, limit+1))
	if err != nil {
		return nil, false, err
	}
	rank := make(map[string]int, len(found))
	for _, f := range found {
		rank[f.UserID] = fits(f, list)
	}
	slices.SortFunc(found, func(x, y storage.Person) int {
		return cmp.Or(cmp.Compare(rank[y.UserID], rank[x.UserID]), cmp.Compare(x.UserID, y.UserID))
	})
	return found[:min(limit, len(found))], len(found) > limit, nil
}

// fits is how well somebody fits: whole words count more than beginnings, and who has a
// name or a picture comes before who has none.
func fits(p storage.Person, query []words.Word) (rank int) {
	local, _, _ := userid.Split(p.UserID)
	for _, name := range [][]words.Word{words.Of(p.DisplayName), words.Of(local)} {
		for _, w := range name {
			if slices.ContainsFunc(query, func(q words.Word) bool { return q.Term == w.Term }) {
				rank += 10
			}
		}
	}
	if p.DisplayName != "" {
		rank += 2
	}
	if p.AvatarURL != "" {
		rank++
	}
	return rank
}
