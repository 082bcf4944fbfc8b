package main

import (
	"log/slog"
	"time"

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
		Previews: previews, Bucket: bucket(m), UserQuota: int64(m.UserQuota), DailyQuota: int64(m.DailyQuota), Retention: retention(m), Unauthenticated: m.Unauthenticated,
		DB: db, DataDir: cfg.DataDir, ServerName: cfg.ServerName, Federation: asker, Logger: log,
		MaxUploadSize: int64(m.MaxUploadSize), MaxRemoteSize: int64(m.MaxRemoteSize), RemoteCache: int64(m.RemoteCache),
	})
}

func retention(m config.Media) mediaapi.Policy {
	return mediaapi.Policy{Local: time.Duration(m.LocalRetention), Remote: time.Duration(m.RemoteRetention)}
}

// bucket is where files are kept, nil for the data directory.
func bucket(m config.Media) *mediaapi.Bucket {
	if m.S3.Bucket == "" {
		return nil
	}
	return &mediaapi.Bucket{
		Endpoint: m.S3.Endpoint, Region: m.S3.Region, Name: m.S3.Bucket, AccessKey: m.S3.AccessKey, SecretKey: m.S3.SecretKey,
		Prefix: m.S3.Prefix, PlainHTTP: m.S3.PlainHTTP,
	}
}
