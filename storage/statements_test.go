package storage_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"hearth/internal/testenv"
	"hearth/storage"
)

// TestFirstReadsAtOnce has many ask at once of a database that was just opened for what is
// read in a transaction: there are fewer connections than they are, and none of
// the queries has been prepared.
func TestFirstReadsAtOnce(t *testing.T) {
	db := testenv.Open(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	const readers = 100
	done := make(chan error, readers)
	for range readers {
		go func() {
			_, err := db.GetRoomHead(ctx, "!nowhere:x")
			done <- err
		}()
	}
	for range readers {
		if err := <-done; !errors.Is(err, storage.ErrNotFound) {
			t.Fatal(err)
		}
	}
}
