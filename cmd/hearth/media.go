package main

import (
	"log/slog"

	"hearth/federationapi/client"
	"hearth/internal/config"
	"hearth/mediaapi"
	"hearth/storage"
)

// newMedia is the content repository; asker is nil without federation.
func newMedia(cfg *config.Config, db *storage.DB, asker *client.Client, log *slog.Logger) (*mediaapi.API, error) {
	m := cfg.Media
	var previews *mediaapi.PreviewOptions
	if m.Previews.Enabled {
		previews = &mediaapi.PreviewOptions{AllowPrivateRanges: m.Previews.AllowPrivateRanges, Deny: m.Previews.DenyURLs}
	}
	return mediaapi.New(mediaapi.Options{
		Previews: previews,
		DB:       db, DataDir: cfg.DataDir, ServerName: cfg.ServerName, Federation: asker, Logger: log,
		MaxUploadSize: int64(m.MaxUploadSize), MaxRemoteSize: int64(m.MaxRemoteSize), RemoteCache: int64(m.RemoteCache),
	})
}
