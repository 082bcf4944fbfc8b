package mediaapi

import (
	"context"
	"log/slog"
	"regexp"
	"time"

	"hearth/storage"
)

const (
	// mentionsEvery is how often the stream is looked through for media.
	mentionsEvery = time.Minute
	// mentionsStep is how many positions are looked through in one transaction.
	mentionsStep = 5000
)

// uris are mxc:// URIs as they stand in an event's JSON.
//
// https://spec.matrix.org/v1.19/client-server-api/#matrix-content-mxc-uris
var uris = regexp.MustCompile(`mxc://([0-9A-Za-z.:\[\]-]{1,255})/([0-9A-Za-z_-]{1,255})`)

// mentioned returns the media that an event names in the open, each once.
func mentioned(json []byte) []storage.MediaURI {
	var list []storage.MediaURI
	seen := map[storage.MediaURI]bool{}
	for _, m := range uris.FindAllSubmatch(json, -1) {
		if u := (storage.MediaURI{Origin: string(m[1]), ID: string(m[2])}); !seen[u] {
			seen[u] = true
			list = append(list, u)
		}
	}
	return list
}

// FollowMentions notes which events of the stream name media, up to its end.
func FollowMentions(ctx context.Context, db *storage.DB) error {
	for {
		done, err := db.FollowMediaMentions(ctx, mentionsStep, mentioned)
		if done || err != nil {
			return err
		}
	}
}

func (a *API) followMentionsRegularly(ctx context.Context) {
	ticker := time.NewTicker(mentionsEvery)
	defer ticker.Stop()
	for {
		if err := FollowMentions(ctx, a.db); err != nil && ctx.Err() == nil {
			a.log.Error("noting which events name media failed", slog.Any("error", err))
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}
