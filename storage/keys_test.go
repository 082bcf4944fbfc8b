package storage_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"hearth/internal/testenv"
	"hearth/storage"
)

// TestKeysTwice stores the same keys twice at once, in another order: neither waits for the other
// forever.
func TestKeysTwice(t *testing.T) {
	db := testenv.Open(t)
	if err := db.CreateUser(t.Context(), storage.User{ID: "@alice:test.local"}); err != nil {
		t.Fatal(err)
	}
	if _, err := db.CreateSession(t.Context(), "@alice:test.local", "PHONE", "", storage.NewToken{}); err != nil {
		t.Fatal(err)
	}
	for round := range 20 {
		var keys []storage.DeviceKey
		for i := range 50 {
			keys = append(keys, storage.DeviceKey{Algorithm: "signed_curve25519", KeyID: fmt.Sprint(round, "-", i), JSON: []byte(`"key"`)})
		}
		other := slices.Clone(keys)
		slices.Reverse(other)
		var all sync.WaitGroup
		for _, list := range [][]storage.DeviceKey{keys, other} {
			all.Go(func() {
				if err := db.AddOneTimeKeys(t.Context(), "@alice:test.local", "PHONE", list); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}
