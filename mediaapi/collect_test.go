package mediaapi

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"hearth/storage"
)

// TestLooseFiles: a file is looked at for being unused as long as nothing refers to it,
// whatever happened, and no longer.
func TestLooseFiles(t *testing.T) {
	ctx, w := context.Background(), newWorld(t, 1<<20)
	expect := func(what string, unused ...byte) {
		t.Helper()
		hashes, err := w.db.UnusedMediaFiles(ctx, -time.Minute, 10)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		for _, h := range hashes {
			got = append(got, h[0])
		}
		if slices.Sort(got); !bytes.Equal(got, unused) {
			t.Errorf("%s: unused are %v, want %v", what, got, unused)
		}
	}
	media := func(id string, file byte) *storage.Media {
		m := &storage.Media{Origin: "test.local", ID: id, UserID: "@alice:test.local", SHA256: bytes.Repeat([]byte{file}, 32)}
		if err := w.db.AnnounceMediaFile(ctx, m.SHA256, 1); err != nil {
			t.Fatal(err)
		}
		return m
	}
	first := media("a", 1)
	expect("announced", 1)
	if err := w.db.InsertMedia(ctx, first); err != nil {
		t.Fatal(err)
	}
	expect("in use")
	if err := w.db.CompleteMedia(ctx, media("a", 2)); !errors.Is(err, storage.ErrNotFound) {
		t.Fatal(err)
	}
	remote := media("b", 3)
	remote.Origin, remote.UserID = "remote.test", ""
	for _, file := range []byte{3, 4} { // the second time it is there already
		remote.SHA256 = media("", file).SHA256
		if err := w.db.KeepRemoteMedia(ctx, remote); err != nil {
			t.Fatal(err)
		}
	}
	expect("the losers' files", 2, 4)
	if err := w.db.InsertMedia(ctx, media("c", 1)); err != nil {
		t.Fatal(err)
	}
	if err := w.db.DeleteOneMedia(ctx, "test.local", "a"); err != nil {
		t.Fatal(err)
	}
	expect("one of two media gone", 2, 4)
	if n, err := Delete(ctx, w.db, &storage.MediaBounds{}, nil); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := w.db.ForgetRefetchable(ctx, 1, 10); n.Media != 1 || n.Bytes != 1 || err != nil {
		t.Fatal(n, err)
	}
	expect("all gone", 1, 2, 3, 4)
}
