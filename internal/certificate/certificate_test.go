package certificate

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestReload serves the new certificate after its files were changed, and the old one
// as long as they are broken.
func TestReload(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	s, err := SelfSigned(dir, "one.test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Get(nil)
	if err != nil || first.Leaf.VerifyHostname("one.test") != nil {
		t.Fatal(first, err)
	}
	again, err := SelfSigned(dir, "one.test", slog.Default())
	if err != nil || !bytes.Equal(again.current.Leaf.Raw, first.Leaf.Raw) {
		t.Errorf("a second start made another certificate (%v)", err)
	}
	if _, err := SelfSigned(other, "192.0.2.1", slog.Default()); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Minute)
	change := func(name string, text []byte) {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		later = later.Add(time.Second)
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
		s.looked = time.Time{}
	}
	change(selfSignedCert, []byte("broken"))
	if c, err := s.Get(nil); err != nil || c != first {
		t.Errorf("broken files took the certificate away: %v", err)
	}
	for _, name := range []string{selfSignedCert, selfSignedKey} {
		text, err := os.ReadFile(filepath.Join(other, name))
		if err != nil {
			t.Fatal(err)
		}
		change(name, text)
	}
	if c, err := s.Get(nil); err != nil || c.Leaf.VerifyHostname("192.0.2.1") != nil {
		t.Errorf("the new certificate isn't served: %v", err)
	}
	if c, err := SelfSigned(dir, "two.test", slog.Default()); err != nil || c.current.Leaf.VerifyHostname("two.test") != nil {
		t.Errorf("a certificate for another name was kept: %v", err)
	}
	if _, err := Pool([]string{filepath.Join(dir, selfSignedKey)}); err == nil {
		t.Error("a key was taken for an authority")
	}
}
