package e2e

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

const (
	crashRounds  = 10
	crashSenders = 32
	crashRooms   = 4
)

// TestCrash kills the server ten times while 32 people talk in four rooms. They
// repeat what wasn't answered under the same transaction ID, as clients do.
// Afterwards every acknowledged event is in /messages exactly once, and every
// reader, those that were mid-sync and those that came later, tells the same story.
func TestCrash(t *testing.T) {
	s := startServer(t)
	senders, rooms := crowd(t, s)
	readers := []*reader{
		newReader(t, senders[0].user, rooms, 100),
		newReader(t, senders[1].user, rooms, 100),
		newReader(t, senders[2].user, rooms, 5), // small timelines: it must fill the gaps itself
		newReader(t, login(t, s.base, senders[0].user.id, password), rooms, 20),
	}
	talk := newConversation(t, senders)
	for _, r := range readers {
		talk.readers.Go(func() { r.run(talk) })
	}
	for round := range crashRounds {
		talk.waitForAcks(t, 60+rand.IntN(120))
		crashes[round%len(crashes)](s)
		if !s.running() {
			s.start()
		}
	}
	talk.waitForAcks(t, crashSenders)
	acked := talk.finish()
	t.Logf("%d acknowledged messages, %d of them only after a repetition", len(acked), talk.repeated.Load())

	late := login(t, s.base, senders[3].user.id, password)
	for _, room := range rooms {
		story := forwards(t, senders[0].user, room)
		checkStory(t, room, story, acked)
		checkSame(t, "paging back", idsOf(story), backwards(t, senders[1].user, room))
		checkSame(t, "a device that came later", idsOf(story), fromFirstSync(t, late, room))
		for i, r := range readers {
			told := r.wait(t, room, story[len(story)-1].id)
			checkSame(t, fmt.Sprintf("reader %d", i), idsOf(story)[r.missed(t, room, story):], told)
		}
	}
	talk.stopReaders()
}

// crowd is 32 users in four rooms.
func crowd(t *testing.T, s *server) ([]*sender, []string) {
	t.Helper()
	senders := make([]*sender, crashSenders)
	for i := range senders {
		senders[i] = &sender{number: i, user: register(t, s.base, fmt.Sprintf("sender%d", i))}
	}
	rooms := make([]string, crashRooms)
	for i := range rooms {
		rooms[i] = senders[i].user.createRoom(t, map[string]any{"preset": "public_chat"})
		for _, other := range senders {
			other.user.join(t, rooms[i])
		}
	}
	for _, snd := range senders {
		snd.rooms = rooms
	}
	return senders, rooms
}

// checkStory holds the messages of one room against what was acknowledged.
func checkStory(t *testing.T, room string, story []told, acked map[string]acknowledged) {
	t.Helper()
	times := map[string]int{}
	last := map[string]int{}
	for _, ev := range story {
		times[ev.id]++
		if ev.text == "" {
			continue
		}
		ack, ok := acked[ev.text]
		switch {
		case !ok:
			t.Errorf("%s: %q was never acknowledged", room, ev.text)
		case ack.id != ev.id:
			t.Errorf("%s: %q was acknowledged as %s and stored as %s", room, ev.text, ack.id, ev.id)
		case ack.number <= last[ev.sender]:
			t.Errorf("%s: %s said number %d after number %d", room, ev.sender, ack.number, last[ev.sender])
		}
		last[ev.sender] = ack.number
	}
	for text, ack := range acked {
		if n := times[ack.id]; ack.room == room && n != 1 {
			t.Errorf("%s: acknowledged message %q is there %d times", room, text, n)
		}
	}
}

func checkSame(t *testing.T, who string, want, got []string) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			t.Errorf("%s: tells another story from event %d on (%d events instead of %d)", who, i, len(got), len(want))
			return
		}
	}
}

// waitForAcks waits until n more messages were acknowledged.
func (c *conversation) waitForAcks(t *testing.T, n int) {
	t.Helper()
	goal := c.count.Load() + int64(n)
	waitFor(t, fmt.Sprintf("%d more messages are acknowledged", n), func() bool {
		if err := c.failure(); err != nil {
			t.Fatal(err)
		}
		return c.count.Load() >= goal
	})
	time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // not always just after an answer
}
