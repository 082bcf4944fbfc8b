package mediaapi

import (
	"errors"
	"net/http"
	"time"

	"hearth/internal/httpapi"
	"hearth/storage"
)

const (
	// reservedFor is how long a reserved id may be used, as the specification recommends.
	reservedFor = 24 * time.Hour
	// maxReserved bounds the unused ids of one user.
	maxReserved = 100
	// retryReserve is when a user with too many may try again: uploads that go
	// well are over by then.
	retryReserve = time.Minute
)

// postCreate answers POST /_matrix/media/v1/create.
//
// https://spec.matrix.org/v1.19/client-server-api/#post_matrixmediav1create
func (a *API) postCreate(r *http.Request, u *httpapi.Requester) (any, error) {
	m := &storage.Media{Origin: a.serverName, ID: newMediaID(), UserID: u.UserID}
	expires, err := a.db.ReserveMediaID(r.Context(), m, reservedFor, maxReserved)
	if errors.Is(err, storage.ErrTooManyReserved) {
		return nil, httpapi.LimitExceeded(retryReserve)
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"content_uri": mxc(m), "unused_expires_at": expires.UnixMilli()}, nil
}

// putUpload answers PUT /_matrix/media/v3/upload/{serverName}/{mediaId}.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixmediav3uploadservernamemediaid
func (a *API) putUpload(r *http.Request, u *httpapi.Requester) (any, error) {
	if httpapi.Var(r, "serverName") != a.serverName {
		return nil, httpapi.NotFound("This server takes uploads for itself only")
	}
	m, err := a.lookUp(r)
	if err != nil {
		return nil, err
	}
	switch {
	case m.UserID != u.UserID:
		return nil, httpapi.Forbidden("This media id was created by somebody else")
	case m.SHA256 != nil:
		return nil, errOverwrite()
	case m.Expired:
		return nil, httpapi.NotFound("This media id has expired")
	}
	err = a.receive(r, m, a.db.CompleteMedia)
	if errors.Is(err, storage.ErrNotFound) { // another upload was faster
		return nil, errOverwrite()
	}
	if err != nil {
		return nil, err
	}
	a.arrivals.announce(m.ID)
	return struct{}{}, nil
}

func errOverwrite() error {
	return httpapi.New(http.StatusConflict, "M_CANNOT_OVERWRITE_MEDIA", "This media id has content already")
}
