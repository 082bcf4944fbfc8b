package roomserver_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/gorilla/mux"

	"hearth/clientapi"
	"hearth/internal/httpapi"
	"hearth/internal/password"
	"hearth/internal/testenv"
	"hearth/roomserver"
	"hearth/storage"
	"hearth/syncapi"
)

// BenchmarkHTTPSend compares sending messages over HTTP, by senders in rooms of their
// own, with its floor: a handler that reads the body, builds, hashes and signs one
// event, and writes it through the same stream. What Hearth does beyond is tokens,
// transactions, authorisation, limits, metrics, and telling who syncs.
func BenchmarkHTTPSend(b *testing.B) {
	for _, kind := range []struct {
		name  string
		serve func(*benchServer) http.Handler
	}{{"floor", (*benchServer).floor}, {"hearth", (*benchServer).hearth}} {
		for _, senders := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("%s/%d", kind.name, senders), func(b *testing.B) {
				s := newBenchServer(b, senders)
				server := httptest.NewServer(kind.serve(s))
				defer server.Close()
				s.send(server.Listener.Addr().String())
			})
		}
	}
}

const benchName, benchKey = "bench.local", "ed25519:a"

// benchServer is a server with rooms of one member each.
type benchServer struct {
	b     *testing.B
	db    *storage.DB
	key   ed25519.PrivateKey
	rooms *roomserver.Server
	users []string
	ids   []string // of the users' rooms
}

func newBenchServer(b *testing.B, senders int) *benchServer {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	db, err := storage.Open(b.Context(), testenv.Database(b), storage.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	s := &benchServer{b: b, db: db, key: key, rooms: roomserver.New(roomserver.Options{
		DB: db, ServerName: benchName, KeyID: benchKey, PrivateKey: key, CacheBytes: 64 << 20})}
	for i := range senders {
		user := fmt.Sprintf("@sender%d:%s", i, benchName)
		id, err := s.rooms.CreateRoom(b.Context(), roomserver.CreateRoomRequest{Creator: user, Preset: "private_chat"})
		if err != nil {
			b.Fatal(err)
		}
		s.users, s.ids = append(s.users, user), append(s.ids, id)
	}
	return s
}

// hearth is the client-server API as it runs.
func (s *benchServer) hearth() http.Handler {
	passwords, err := password.New(4)
	if err != nil {
		s.b.Fatal(err)
	}
	client := clientapi.New(clientapi.Options{DB: s.db, Rooms: s.rooms, Passwords: passwords})
	sync := syncapi.New(syncapi.Options{DB: s.db, Rooms: s.rooms, ServerName: benchName, CacheBytes: 64 << 20})
	s.b.Cleanup(func() { sync.Close(); client.Close() })
	api := httpapi.NewServer(httpapi.Options{Authenticate: func(_ context.Context, token string) (*httpapi.Requester, error) {
		return &httpapi.Requester{UserID: token, DeviceID: "BENCH"}, nil
	}})
	client.Register(api)
	return api
}

// floorRoom is a room's row; its lock orders the events.
type floorRoom struct {
	mu   sync.Mutex
	row  storage.Room
	auth []string
}

// floor builds, signs and writes, and checks nothing.
func (s *benchServer) floor() http.Handler {
	rooms := map[string]*floorRoom{}
	for i, id := range s.ids {
		v, err := s.rooms.View(s.b.Context(), id)
		if err != nil {
			s.b.Fatal(err)
		}
		levels, _ := v.Entry("m.room.power_levels", "")
		member, _ := v.Entry("m.room.member", s.users[i])
		rooms[id] = &floorRoom{row: v.Room, auth: []string{levels.EventID, member.EventID}}
	}
	router := mux.NewRouter()
	router.HandleFunc("/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}", func(w http.ResponseWriter, r *http.Request) {
		id, err := s.append(r, rooms[mux.Vars(r)["roomId"]])
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]string{"event_id": id})
	})
	return router
}

func (s *benchServer) append(r *http.Request, rm *floorRoom) (string, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", err
	}
	slot, err := s.db.Stream.Reserve(r.Context())
	if err != nil {
		return "", err
	}
	rm.mu.Lock()
	e, err := roomserver.BuildMessage(&rm.row, r.Header.Get("Authorization")[len("Bearer "):], rm.auth, body, benchName, benchKey, s.key)
	if err == nil {
		e.NID, err = s.db.NextNID(r.Context())
	}
	if err != nil {
		rm.mu.Unlock()
		slot.Release()
		return "", err
	}
	change := &storage.RoomChange{ExpectedVersion: rm.row.Version, Events: []*storage.Event{e}}
	rm.row.ForwardExtremities, rm.row.Depth, rm.row.Version = []string{e.ID}, e.Depth, e.NID
	change.Room = rm.row
	ticket := slot.Append(&storage.Change{Room: change})
	rm.mu.Unlock()
	return e.ID, ticket.Wait(r.Context())
}

// send has every sender send over a connection of its own until b.N messages are
// through.
func (s *benchServer) send(addr string) {
	b := s.b
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for i := range s.ids {
		all.Go(func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			answers := bufio.NewReader(c)
			for n := i; n < b.N; n += len(s.ids) {
				if err := s.sendOne(c, answers, i, n); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

func (s *benchServer) sendOne(c net.Conn, answers *bufio.Reader, sender, n int) error {
	body := fmt.Sprintf(`{"msgtype":"m.text","body":"message %d of a hundred bytes or so, which is what people write on average in rooms, more or less"}`, n)
	fmt.Fprintf(c, "PUT /_matrix/client/v3/rooms/%s/send/m.room.message/%d HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s",
		s.ids[sender], n, s.users[sender], len(body), body)
	res, err := http.ReadResponse(answers, nil)
	if err != nil {
		return err
	}
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, answer)
	}
	return err
}
