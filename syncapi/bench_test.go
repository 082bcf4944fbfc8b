package syncapi

import (
	"fmt"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
)

// answer is one /sync without the HTTP around it.
func answer(b *testing.B, w *world, u *httpapi.Requester, since, more string) []byte {
	r := httptest.NewRequest("GET", "/_matrix/client/v3/sync?since="+since+more, nil)
	got, err := w.api.getSync(r, u)
	if err != nil {
		b.Fatal(err)
	}
	return got.(httpapi.Raw)
}

// BenchmarkEmptySync is an incremental sync without news of somebody in 100 rooms.
func BenchmarkEmptySync(b *testing.B) {
	w := newWorld(b)
	for range 100 {
		w.say(w.newRoom("alice"), "alice", "hello")
	}
	c := w.client("alice")
	c.sync(0)
	c.sync(0)
	u := &httpapi.Requester{UserID: id("alice"), DeviceID: "PHONE"}
	b.ReportAllocs()
	for b.Loop() {
		answer(b, w, u, c.since, "")
	}
}

// BenchmarkFanOut is the share of one of many members who each learn of a message.
func BenchmarkFanOut(b *testing.B) {
	w := newWorld(b)
	room := w.newRoom("alice")
	const members = 200
	var readers []*httpapi.Requester
	for i := range members {
		name := fmt.Sprint("reader", i)
		w.join(room, name)
		readers = append(readers, &httpapi.Requester{UserID: id(name), DeviceID: "PHONE"})
		w.client(name).sync(0)
	}
	last := w.client("alice")
	last.sync(0)
	w.say(room, "alice", "a plain message of about a hundred bytes, as people send them to one another all day long")
	for _, more := range []string{"", "&use_state_after=true", `&filter={"room":{"state":{"lazy_load_members":true},"timeline":{"limit":20}}}`} {
		b.Run(more, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				answer(b, w, readers[i%members], last.since, more)
			}
		})
	}
}

// BenchmarkFirstSync is the first sync of somebody in 100 rooms of 50 messages.
func BenchmarkFirstSync(b *testing.B) {
	w := newWorld(b)
	for range 100 {
		room := w.newRoom("alice")
		for i := range 50 {
			w.say(room, "alice", fmt.Sprint("message ", i))
		}
	}
	u := &httpapi.Requester{UserID: id("alice"), DeviceID: "PHONE"}
	b.Run("warm", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := httptest.NewRequest("GET", `/_matrix/client/v3/sync?filter={"room":{"timeline":{"limit":50}}}`, nil)
			if _, err := w.api.getSync(r, u); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			w = w.restart()
			b.StartTimer()
			r := httptest.NewRequest("GET", `/_matrix/client/v3/sync?filter={"room":{"timeline":{"limit":50}}}`, nil)
			if _, err := w.api.getSync(r, u); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkSliding is sliding sync of somebody in a thousand rooms with a window of twenty:
// the first sync of a process and of a connection, one without news, and one with a message.
// HEARTH_BENCH_ROOMS changes how many rooms there are.
func BenchmarkSliding(b *testing.B) {
	w := newWorld(b)
	n := 1000
	if text := os.Getenv("HEARTH_BENCH_ROOMS"); text != "" {
		n, _ = strconv.Atoi(text)
	}
	rooms := make([]string, n)
	for i := range rooms {
		rooms[i] = w.newRoom("alice")
	}
	lists := window(20, 20, `[["m.room.member","$ME"],["m.room.member","$LAZY"],["m.room.create",""],["m.space.child","*"]]`)
	body := `{"lists":` + lists + `,"extensions":{"to_device":{"enabled":true,"since":"SINCE"},"account_data":{"enabled":true},"receipts":{"enabled":true},"typing":{"enabled":true}}}`
	u := &httpapi.Requester{UserID: id("alice"), DeviceID: "PHONE"}
	since := "0"
	ask := func(pos string) string {
		r := httptest.NewRequest("POST", "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?pos="+pos, strings.NewReader(strings.Replace(body, "SINCE", since, 1)))
		got, err := w.api.postUnstableSync(r, u)
		if err != nil {
			b.Fatal(err)
		}
		since = gjson.GetBytes(got.(httpapi.Raw), "extensions.to_device.next_batch").Str
		return gjson.GetBytes(got.(httpapi.Raw), "pos").Str
	}
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			w = w.restart()
			b.StartTimer()
			ask("")
		}
	})
	b.Run("anew", func(b *testing.B) {
		for b.Loop() {
			ask("")
		}
	})
	b.Run("quiet", func(b *testing.B) {
		b.ReportAllocs()
		pos := ask("")
		for b.Loop() {
			pos = ask(pos)
		}
	})
	b.Run("message", func(b *testing.B) {
		pos := ask("")
		for b.Loop() {
			b.StopTimer()
			w.say(rooms[0], "alice", "hello")
			b.StartTimer()
			pos = ask(pos)
		}
	})
}
