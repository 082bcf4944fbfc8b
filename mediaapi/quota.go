package mediaapi

import (
	"context"
	"time"

	"hearth/internal/httpapi"
)

// retryQuota is when somebody may try again who has uploaded too much in a day: some of it
// is older by then.
const retryQuota = time.Hour

// allowance returns how many bytes the user may upload now: what the quotas leave, at most
// an upload's bound. Uploads at the same moment don't know of one another.
func (a *API) allowance(ctx context.Context, userID string) (int64, error) {
	if a.o.UserQuota == 0 && a.o.DailyQuota == 0 {
		return a.o.MaxUploadSize, nil
	}
	all, lately, err := a.db.UploadedBytes(ctx, userID)
	if err != nil {
		return 0, err
	}
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
	return httpapi.Forbidden("This is more than this server takes of one user")
}
