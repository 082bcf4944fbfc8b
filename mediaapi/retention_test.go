package mediaapi

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"hearth/storage"
)

// TestRetention: what nobody has asked for in the configured time goes, one's own and others' media each by their own rule; a look
// beforehand says how much that is.
func TestRetention(t *testing.T) {
	w, other := newFederated(t, Options{MaxRemoteSize: 1000, RemoteCache: 1 << 20, Retention: Policy{Local: 48 * time.Hour, Remote: 24 * time.Hour}})
	idOf := func(path string) string { return path[strings.LastIndexByte(path, '/')+1:] }
	uploaded := map[string]string{}
	for _, name := range []string{"used", "unused", "young", "protected", "quarantined", "face"} {
		uploaded[name] = w.upload([]byte(name), "text/plain", "")
	}
	other.parts("Content-Type: text/plain", "theirs")
	for _, id := range []string{"old", "new"} {
		w.expect(w.get(downloads+other.name+"/"+id), 200, "")
	}
	if err := w.api.accesses.flush(t.Context(), w.db); err != nil {
		t.Fatal(err)
	}
	w.exec(`UPDATE media SET accessed_at = now() - interval '3 days', created_at = now() - interval '3 days' WHERE media_id <> 'new'`)
	w.exec(`UPDATE media SET accessed_at = now() - interval '25 hours' WHERE media_id = '` + idOf(uploaded["young"]) + `'`)
	w.exec(`UPDATE media_files SET touched_at = now() - interval '3 days'`)
	if err := w.db.ProtectMedia(t.Context(), "test.local", idOf(uploaded["protected"]), true); err != nil {
		t.Fatal(err)
	}
	if _, err := w.db.QuarantineMedia(t.Context(), []storage.MediaURI{{Origin: "test.local", ID: idOf(uploaded["quarantined"])}}, "@admin:test.local"); err != nil {
		t.Fatal(err)
	}
	face, err := json.Marshal("mxc://" + uploaded["face"])
	if err != nil {
		t.Fatal(err)
	}
	w.exec(`INSERT INTO users (user_id) VALUES ('@alice:test.local')`)
	w.exec(`INSERT INTO profiles (user_id, field, value) VALUES ('@alice:test.local', 'avatar_url', '` + string(face) + `')`)
	w.expect(w.get(downloads+uploaded["used"]), 200, "") // which isn't written yet
	if err := w.api.accesses.flush(t.Context(), w.db); err != nil {
		t.Fatal(err)
	}
	var would []storage.MediaTotal
	for _, b := range w.o.Retention.Bounds() {
		n, err := w.db.CountMedia(t.Context(), b)
		if err != nil {
			t.Fatal(err)
		}
		would = append(would, n)
	}
	if want := []storage.MediaTotal{{Media: 1, Bytes: 6}, {Media: 1, Bytes: 6}}; !slices.Equal(would, want) {
		t.Errorf("would delete %v, want %v", would, want)
	}
	if err := w.api.collect(t.Context(), unusedAge); err != nil {
		t.Fatal(err)
	}
	for name, path := range uploaded {
		if gone := w.get(downloads+path).status == 404; gone != (name == "unused" || name == "quarantined") {
			t.Errorf("%s: gone is %v", name, gone)
		}
	}
	w.expect(w.get(downloads+other.name+"/old?allow_remote=false"), 404, "M_NOT_FOUND")
	w.expect(w.get(downloads+other.name+"/new?allow_remote=false"), 200, "")
	if n := w.files("files"); n != 6 {
		t.Errorf("%d files are left", n)
	}
}
