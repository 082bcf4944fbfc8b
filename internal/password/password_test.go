package password_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"hearth/internal/password"
)

func TestHasher(t *testing.T) {
	ctx := context.Background()
	h, err := password.New(4)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("long", 100)
	for _, p := range []string{"s", "pässwörd \x00 with NUL", long} {
		hash, err := h.Hash(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := h.Verify(ctx, hash, p); !ok || err != nil {
			t.Errorf("%q isn't recognised: %v", p, err)
		}
		if ok, err := h.Verify(ctx, hash, p+"x"); ok || err != nil {
			t.Errorf("%q is taken for %q: %v", p+"x", p, err)
		}
	}
	if ok, err := h.Verify(ctx, "", "anything"); ok || err != nil {
		t.Errorf("an account without a password: %v %v", ok, err)
	}
	if _, err := h.Hash(ctx, strings.Repeat("x", 513)); !errors.Is(err, password.ErrTooLong) {
		t.Errorf("too long: %v", err)
	}
	if _, err := h.Hash(ctx, ""); !errors.Is(err, password.ErrEmpty) {
		t.Errorf("empty: %v", err)
	}
}
