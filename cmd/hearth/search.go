package main

import (
	"context"

	"hearth/internal/config"
	"hearth/roomserver"
	"hearth/search"
	"hearth/storage"
)

// searchIndex starts the search; it returns nil if that is turned off.
func (s *server) searchIndex(ctx context.Context, cfg *config.Config, db *storage.DB, rooms *roomserver.Server) (*search.Index, error) {
	if !cfg.Search.Enabled {
		return nil, nil
	}
	index, err := search.New(ctx, search.Options{DB: db, Rooms: rooms, Logger: s.log})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, func() error { index.Stop(); return nil })
	return index, nil
}
