package mediaapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"hearth/internal/httpapi"
)

var notStored = promauto.NewCounterVec(prometheus.CounterOpts{
	Name: "hearth_media_not_stored_total", Help: "Files that the disk or the bucket did not take, by reason: full or failed."},
	[]string{"reason"})

// retryStore is when to try again what could not be stored for another reason than a full disk.
const retryStore = time.Minute

// health is whether the store takes files. The administrator is told when that changes.
type health struct {
	log  *slog.Logger
	sick atomic.Bool
}

// stored notes that a file was taken.
func (h *health) stored() {
	if h.sick.Load() && h.sick.CompareAndSwap(true, false) {
		h.log.Info("media are stored again")
	}
}

// failed notes that a file wasn't taken, and returns what is answered to who brought it.
func (a *API) failed(err error) error {
	if errors.Is(err, context.Canceled) {
		return err // nobody waits for the answer, and the store isn't to blame
	}
	reason, e := "failed", httpapi.Unavailable(retryStore, "The server can't store media just now")
	if isFull(err) {
		reason, e = "full", httpapi.New(http.StatusInsufficientStorage, "M_RESOURCE_LIMIT_EXCEEDED", "The server has no room left for media")
	}
	notStored.WithLabelValues(reason).Inc()
	if !a.health.sick.Swap(true) {
		a.log.Error("media can't be stored", slog.String("reason", reason), slog.Any("error", err))
	}
	e.Err = err
	return e
}

// fullCodes are what object storages answer that have no room, or whose bucket has reached its quota.
var fullCodes = map[string]bool{
	"XMinioStorageFull": true, "XMinioAdminBucketQuotaExceeded": true, "QuotaExceeded": true, "InsufficientCapacity": true,
}

// isFull reports whether something could not be written for want of room.
func isFull(err error) bool {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return true
	}
	var answer minio.ErrorResponse
	return errors.As(err, &answer) && (answer.StatusCode == http.StatusInsufficientStorage || fullCodes[answer.Code])
}
