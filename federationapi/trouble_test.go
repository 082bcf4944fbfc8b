package federationapi

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"hearth/roomserver"
	"hearth/storage"
)

// links are the ways between servers, each with what is wrong with it.
type links struct {
	mu      sync.Mutex
	trouble map[string]trouble // by the names of who asks and who is asked
}

type trouble int

const (
	well trouble = iota
	slow
	cut  // what is asked doesn't arrive
	deaf // what is answered doesn't
)

// front is what stands before a server.
func (l *links) front(to string) func(http.ResponseWriter, *http.Request, http.Handler) {
	return func(w http.ResponseWriter, r *http.Request, server http.Handler) {
		_, from, _ := strings.Cut(r.Header.Get("Authorization"), `origin="`)
		from, _, _ = strings.Cut(from, `"`)
		l.mu.Lock()
		t := l.trouble[from+" "+to]
		l.mu.Unlock()
		switch t {
		case slow:
			time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		case deaf:
			server.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		case cut:
			panic(http.ErrAbortHandler)
		}
		server.ServeHTTP(w, r)
	}
}

// change has something else be wrong with each way.
func (l *links) change(r *rand.Rand, all []*hearth, choose ...trouble) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, from := range all {
		for _, to := range all {
			l.trouble[from.name+" "+to.name] = choose[r.IntN(len(choose))]
		}
	}
}

// TestNetworkTrouble has three servers talk, change a room's state, fight over its power
// levels and ban, while the ways between them are cut, delayed and lose answers. Once they
// are healed, all have heard everything and see the same room.
func TestNetworkTrouble(t *testing.T) {
	seed := rand.Uint64()
	if text := os.Getenv("HEARTH_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	defer func() {
		if t.Failed() {
			t.Logf("HEARTH_SEED=%d", seed)
		}
	}()
	r := rand.New(rand.NewPCG(seed, 0))
	networkTrouble(t, []string{"6", "11", "12"}[r.IntN(3)], r)
}

func networkTrouble(t *testing.T, version string, r *rand.Rand) {
	all := newHearths(t, 3, nil)
	l := &links{trouble: map[string]trouble{}}
	for _, h := range all {
		front := l.front(h.name)
		h.front.Store(&front)
		h.startSending()
	}
	one, two, three := all[0], all[1], all[2]
	people := []string{one.user("alice"), two.user("bob"), three.user("carol")}
	room := one.room(version)
	guests := []string{two.user("dave"), three.user("erin")} // who are banned and come back
	for _, user := range []string{people[1], guests[0]} {
		two.join(room, user, one)
	}
	for _, user := range []string{people[2], guests[1]} {
		three.join(room, user, one)
	}
	users := object{people[1]: 100, people[2]: 50}
	if version != "12" {
		users[people[0]] = 100
	}
	one.send(room, people[0], "m.room.power_levels", new(""), object{"users": users})
	eventually(t, "that all begin alike", func() bool { return one.state(room) == two.state(room) && two.state(room) == three.state(room) })

	const rounds = 8
	for round := range rounds {
		l.change(r, all, well, slow, cut, cut, deaf)
		var each sync.WaitGroup
		for i, h := range all {
			luck := rand.New(rand.NewPCG(r.Uint64(), 0))
			each.Go(func() {
				for n := range 3 {
					h.say(room, people[i], fmt.Sprint(people[i], round, n))
					h.act(luck, room, people[i], guests)
				}
			})
		}
		each.Wait()
	}
	l.change(r, all, well)
	for i, h := range all { // who has two ends ties them together
		h.say(room, people[i], fmt.Sprint(people[i], " is back"))
	}
	within(t, time.Minute, "that all see the same", func() bool {
		return one.state(room) == two.state(room) && two.state(room) == three.state(room) &&
			one.accepted(room, guests) == two.accepted(room, guests) && two.accepted(room, guests) == three.accepted(room, guests)
	})
	for i, h := range all {
		if heard := h.heard(room); !slices.Contains(heard, fmt.Sprint(people[(i+1)%3], rounds-1, 2)) || !slices.Contains(heard, fmt.Sprint(people[(i+2)%3], 0, 0)) {
			t.Errorf("%s hears only %v", people[i], heard)
		}
	}
}

func within(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s doesn't come true", what)
		}
	}
}

// act has somebody do something to the room, or fail to.
func (h *hearth) act(r *rand.Rand, room, user string, guests []string) {
	h.t.Helper()
	guest := guests[r.IntN(len(guests))]
	try := func(typ string, content object) {
		text, _ := json.Marshal(content) // what came from JSON always marshals
		_, _ = h.rooms.Send(background(h.t), roomserver.EventRequest{RoomID: room, Sender: user, Type: typ, StateKey: new(""), Content: text})
	}
	switch r.IntN(5) {
	case 0:
		try("m.room.topic", object{"topic": fmt.Sprint(user, r.IntN(1000))})
	case 1: // the levels as they are, but for one
		v, err := h.rooms.View(background(h.t), room)
		if err != nil {
			h.t.Error(err)
			return
		}
		e, err := h.rooms.StateEvent(background(h.t), v, "m.room.power_levels", "")
		if err != nil || e == nil {
			h.t.Error("no power levels", err)
			return
		}
		content, _ := gjson.GetBytes(e.JSON, "content").Value().(object)
		content["users"].(object)[guest] = r.IntN(3) * 20
		try("m.room.power_levels", content)
	default: // those who are of another server can't rejoin while they are cut off
		membership := []string{"ban", "leave"}[r.IntN(2)]
		sender := user
		if strings.HasSuffix(guest, ":"+h.name) && r.IntN(2) == 0 {
			sender, membership = guest, "join"
		}
		_, _ = h.rooms.SetMembership(background(h.t), roomserver.MembershipRequest{RoomID: room, Sender: sender, Target: guest, Membership: membership})
	}
}

// accepted are the messages in the room's timeline, those of the guests aside: whether these
// come too late to be shown depends on when a server hears that they are banned.
func (h *hearth) accepted(room string, guests []string) string {
	var ids []string
	for _, e := range h.timeline(room) {
		if e.Flags&(storage.SoftFailed|storage.Rejected) == 0 && e.Type == "m.room.message" && !slices.Contains(guests, e.Sender) {
			ids = append(ids, e.ID)
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}
