package mediaapi

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"hearth/internal/httpapi"
)

// retryQuota is when somebody may try again who has uploaded too much in a day: some of it
// is older by then.
const retryQuota = time.Hour

// allowance returns how many bytes the user may upload with this request: what the quotas
// leave, at most an upload's bound. Until done is called, which must be after the upload's
// row is written, other uploads of the user have so much less.
func (a *API) allowance(r *http.Request, userID string) (limit int64, done func(), err error) {
	limit = a.o.MaxUploadSize
	if a.o.UserQuota == 0 && a.o.DailyQuota == 0 {
		return limit, func() {}, nil
	}
	id, err := a.db.BeginUpload(r.Context(), userID, func(all, lately int64) (int64, error) {
		var err error
		if limit, err = a.left(all, lately); err != nil {
			return 0, err
		}
		if r.ContentLength > limit {
			return 0, a.tooLarge(limit)
		}
		if r.ContentLength >= 0 {
			limit = r.ContentLength
		}
		return limit, nil
	})
	if err != nil {
		return 0, nil, err
	}
	return limit, func() {
		// The user's next upload needs the room, whether this request is still wanted or not.
		if err := a.db.EndUpload(context.WithoutCancel(r.Context()), id); err != nil {
			a.log.Error("an upload's reservation stays", slog.String("user", userID), slog.Any("error", err))
		}
	}, nil
}

// left returns what the quotas leave of somebody whose media take so much, and so much of
// it the youngest.
func (a *API) left(all, lately int64) (int64, error) {
	left := a.o.MaxUploadSize
	if a.o.DailyQuota > 0 {
		if left = min(left, a.o.DailyQuota-lately); left <= 0 {
			return 0, httpapi.LimitExceeded(retryQuota)
		}
	}
	if a.o.UserQuota > 0 {
		if left = min(left, a.o.UserQuota-all); left <= 0 {
			return 0, errQuota()
		}
	}
	return left, nil
}

func errQuota() error {
	return httpapi.New(http.StatusForbidden, "M_USER_LIMIT_EXCEEDED", "This is more than this server takes of one user")
}
