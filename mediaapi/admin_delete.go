package mediaapi

import (
	"context"
	"errors"
	"math"
	"net/http"
	"time"

	"hearth/internal/httpapi"
	"hearth/storage"
)

func (a *API) adminDeleteOne(r *http.Request, _ *httpapi.Requester) (any, error) {
	u := uri(r)
	err := a.db.DeleteOneMedia(r.Context(), u.Origin, u.ID)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, errNoMedia()
	}
	if err != nil {
		return nil, err
	}
	return deleted([]string{u.ID}, 1), a.collect(r.Context(), evictedAge)
}

// maxDeletedShown bounds the ids in the answer to a deletion.
const maxDeletedShown = 10_000

func deleted(ids []string, total int64) any {
	if ids == nil {
		ids = []string{}
	}
	return map[string]any{"deleted_media": ids, "total": total}
}

// adminDeleteLocal deletes users' uploads that nobody has asked for since before_ts.
func (a *API) adminDeleteLocal(r *http.Request, _ *httpapi.Requester) (any, error) {
	if name := httpapi.Var(r, "serverName"); name != "" && name != a.serverName {
		return nil, httpapi.InvalidParam("Only this server's media can be deleted so")
	}
	unused, err := unusedSince(r)
	if err != nil {
		return nil, err
	}
	size, err := httpapi.IntParam(r, "size_gt", 0, 0)
	if err != nil {
		return nil, err
	}
	keep, err := httpapi.BoolParam(r, "keep_profiles", true)
	if err != nil {
		return nil, err
	}
	b := &storage.MediaBounds{UnusedFor: unused, KeepPictures: keep}
	if size > 0 {
		b.MinSize = int64(min(size, math.MaxInt64-1)) + 1
	}
	ids, total, err := a.deleteAll(r.Context(), b)
	if err != nil {
		return nil, err
	}
	return deleted(ids, total), nil
}

// adminPurgeCache forgets what can be fetched again and nobody has asked for since before_ts.
func (a *API) adminPurgeCache(r *http.Request, _ *httpapi.Requester) (any, error) {
	unused, err := unusedSince(r)
	if err != nil {
		return nil, err
	}
	_, total, err := a.deleteAll(r.Context(), &storage.MediaBounds{Remote: true, UnusedFor: unused})
	if err != nil {
		return nil, err
	}
	return map[string]int64{"deleted": total}, nil
}

func (a *API) adminDeleteUserMedia(r *http.Request, _ *httpapi.Requester) (any, error) {
	list, _, _, err := a.userMedia(r)
	if err != nil {
		return nil, err
	}
	var ids []string
	for i := range list {
		err := a.db.DeleteOneMedia(r.Context(), list[i].Origin, list[i].ID)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return nil, err
		}
		ids = append(ids, list[i].ID)
	}
	return deleted(ids, int64(len(ids))), a.collect(r.Context(), evictedAge)
}

// deleteAll deletes what the bounds mean, and the files that are no longer needed. It returns
// the ids of the first, and how many there were.
func (a *API) deleteAll(ctx context.Context, b *storage.MediaBounds) (ids []string, total int64, err error) {
	if err := a.accesses.flush(ctx, a.db); err != nil {
		return nil, 0, err
	}
	if err := FollowMentions(ctx, a.db); err != nil {
		return nil, 0, err
	}
	total, err = Delete(ctx, a.db, b, func(gone []storage.MediaPlace) {
		for _, p := range gone[:min(len(gone), maxDeletedShown-len(ids))] {
			ids = append(ids, p.ID)
		}
	})
	if err != nil {
		return nil, 0, err
	}
	return ids, total, a.collect(ctx, evictedAge)
}

// unusedSince reads before_ts, which must be there, as how long ago it was.
func unusedSince(r *http.Request) (time.Duration, error) {
	if r.URL.Query().Get("before_ts") == "" {
		return 0, httpapi.MissingParam("before_ts is missing")
	}
	before, err := timeParam(r, "before_ts")
	if err != nil {
		return 0, err
	}
	ago := time.Since(before)
	if before.IsZero() || ago <= 0 {
		return 0, httpapi.InvalidParam("before_ts isn't a time of the past in milliseconds")
	}
	return ago, nil
}
