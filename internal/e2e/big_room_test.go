package e2e

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// The room that is joined, and what that may take.
const (
	bigRoomMembers  = 10_000
	bigRoomState    = 15_000
	bigRoomUsable   = 3 * time.Second
	bigRoomComplete = time.Minute
	bigRoomMemory   = 400 << 20
)

// TestBigRoomJoin measures how a server joins a big room of another one, if HEARTH_BIG_ROOM is
// set to how many members it is to have, "full" for 10,000.
func TestBigRoomJoin(t *testing.T) {
	wanted := os.Getenv("HEARTH_BIG_ROOM")
	if wanted == "" {
		t.Skip("HEARTH_BIG_ROOM isn't set")
	}
	members := bigRoomMembers
	if n, err := strconv.Atoi(wanted); err == nil {
		members = n
	}
	one, name := federating(t, "passwords.bcrypt_cost=4")
	two, _ := federating(t, "passwords.bcrypt_cost=4")
	alice := register(t, one.direct, "alice")
	room := alice.createRoom(t, map[string]any{"preset": "public_chat", "name": "Everybody"})
	began := time.Now()
	inParallel(members-1, func(i int) { register(t, one.direct, fmt.Sprint("user", i)).join(t, room) })
	others := members*bigRoomState/bigRoomMembers - members
	inParallel(others, func(i int) {
		alice.setState(t, room, "org.example.thing", fmt.Sprint(i), map[string]any{"number": i})
	})
	t.Logf("a room of %d members and %d further pieces of state was made in %s", members, others, time.Since(began).Round(time.Second))

	bob := register(t, two.direct, "bob")
	peak := watchMemory(two)
	began = time.Now()
	bob.ok(t, "POST", clientV3+"/join/"+room+"?via="+name, map[string]any{})
	first := bob.sync(t, "", `{"room":{"state":{"lazy_load_members":true},"timeline":{"limit":10}}}`)
	bob.say(t, room, "hello")
	usable := time.Since(began)
	if !first.Get("rooms.join." + escapeKey(room)).Exists() {
		t.Error("the room isn't there right after the join")
	}
	joined := 0
	for joined < members+1 && time.Since(began) < 10*bigRoomComplete {
		answer := bob.do(t, "GET", inRoom(room, "joined_members"), nil) // waits until all are known, or says that they aren't
		joined = len(gjson.GetBytes(answer.body, "joined").Map())
	}
	complete := time.Since(began)
	waitFor(t, "the other server hears bob", func() bool {
		return strings.Contains(alice.ok(t, "GET", inRoom(room, "messages?dir=b&limit=5"), nil).Raw, "hello")
	})
	most := peak()
	t.Logf("usable after %s, complete after %s, at most %d MiB", usable.Round(time.Millisecond), complete.Round(time.Millisecond), most>>20)
	if joined != members+1 || usable > bigRoomUsable || complete > bigRoomComplete || most > bigRoomMemory {
		t.Errorf("that is more than %s, %s and %d MiB, or fewer than all members: %d", bigRoomUsable, bigRoomComplete, bigRoomMemory>>20, joined)
	}
}

// inParallel runs f for each of n things, 16 at a time.
func inParallel(n int, f func(i int)) {
	var all sync.WaitGroup
	var next atomic.Int64
	for range 16 {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	all.Wait()
}

// watchMemory looks at a server's resident memory; what it returns says the most that it was.
func watchMemory(s *server) (most func() int) {
	stop, peak := make(chan struct{}), make(chan int)
	go func() {
		highest := 0
		for {
			highest = max(highest, resident(s.cmd.Process.Pid))
			select {
			case <-time.After(20 * time.Millisecond):
			case <-stop:
				peak <- highest
				return
			}
		}
	}()
	return func() int { close(stop); return <-peak }
}

// resident is a process's resident memory in bytes, 0 if it can't be told.
func resident(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if kilobytes, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.Atoi(strings.Fields(kilobytes)[0]) // Linux writes a number
			return n << 10
		}
	}
	return 0
}
