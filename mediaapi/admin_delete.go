package mediaapi

import (
	"context"
	"errors"
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
	return deleted([]storage.MediaURI{u}), a.collect(r.Context(), evictedAge)
}

func deleted(gone []storage.MediaURI) any {
	ids := []string{}
	for _, u := range gone {
		ids = append(ids, u.ID)
	}
	return map[string]any{"deleted_media": ids, "total": len(ids)}
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
	size, err := intParam(r, "size_gt", 0)
	if err != nil {
		return nil, err
	}
	keep, err := boolParam(r, "keep_profiles", true)
	if err != nil {
		return nil, err
	}
	b := &storage.MediaBounds{UnusedFor: unused, Spare: keep}
	if size > 0 {
		b.MinSize = size + 1
	}
	gone, err := a.deleteAll(r.Context(), b)
	if err != nil {
		return nil, err
	}
	return deleted(gone), nil
}

// adminPurgeCache forgets what can be fetched again and nobody has asked for since before_ts.
func (a *API) adminPurgeCache(r *http.Request, _ *httpapi.Requester) (any, error) {
	unused, err := unusedSince(r)
	if err != nil {
		return nil, err
	}
	gone, err := a.deleteAll(r.Context(), &storage.MediaBounds{Remote: true, UnusedFor: unused, Spare: true})
	if err != nil {
		return nil, err
	}
	return map[string]int{"deleted": len(gone)}, nil
}

func (a *API) adminDeleteUserMedia(r *http.Request, _ *httpapi.Requester) (any, error) {
	list, _, _, err := a.userMedia(r)
	if err != nil {
		return nil, err
	}
	var gone []storage.MediaURI
	for i := range list {
		err := a.db.DeleteOneMedia(r.Context(), list[i].Origin, list[i].ID)
		if err != nil && !errors.Is(err, storage.ErrNotFound) {
			return nil, err
		}
		gone = append(gone, storage.MediaURI{Origin: list[i].Origin, ID: list[i].ID})
	}
	return deleted(gone), a.collect(r.Context(), evictedAge)
}

// deleteAll deletes what the bounds mean, and the files that are no longer needed.
func (a *API) deleteAll(ctx context.Context, b *storage.MediaBounds) (all []storage.MediaURI, err error) {
	if err := a.accesses.flush(ctx, a.db); err != nil {
		return nil, err
	}
	if err := FollowMentions(ctx, a.db); err != nil {
		return nil, err
	}
	_, err = Delete(ctx, a.db, b, func(gone []storage.MediaURI) { all = append(all, gone...) })
	if err != nil {
		return nil, err
	}
	return all, a.collect(ctx, evictedAge)
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
