package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// eagerSyncer doesn't wait the library's ten seconds after a failed sync.
type eagerSyncer struct{ *mautrix.DefaultSyncer }

func (eagerSyncer) OnFailedSync(*mautrix.RespSync, error) (time.Duration, error) {
	return 100 * time.Millisecond, nil
}

// startBot runs an echo bot until the returned function is called: it joins
// where it is invited and repeats every text as a notice. The store is what
// such a bot keeps on disk; handing it over continues where the last one ended.
func startBot(t *testing.T, u *user, store mautrix.SyncStore) (stop func()) {
	t.Helper()
	bot, err := mautrix.NewClient(u.base, id.UserID(u.id), u.token)
	if err != nil {
		t.Fatal(err)
	}
	bot.DeviceID = id.DeviceID(u.device)
	bot.Store = store
	ctx, cancel := context.WithCancel(context.Background())
	syncer := eagerSyncer{mautrix.NewDefaultSyncer()}
	bot.Syncer = syncer
	syncer.OnEventType(event.StateMember, func(ctx context.Context, ev *event.Event) {
		if ev.GetStateKey() == u.id && ev.Content.AsMember().Membership == event.MembershipInvite {
			if _, err := bot.JoinRoomByID(ctx, ev.RoomID); err != nil && ctx.Err() == nil {
				t.Errorf("bot joins %s: %v", ev.RoomID, err)
			}
		}
	})
	syncer.OnEventType(event.EventMessage, func(ctx context.Context, ev *event.Event) {
		if ev.Content.AsMessage().MsgType != event.MsgText {
			return
		}
		if _, err := bot.SendNotice(ctx, ev.RoomID, "echo: "+ev.Content.AsMessage().Body); err != nil && ctx.Err() == nil {
			t.Errorf("bot echoes: %v", err)
		}
	})
	done := make(chan error, 1)
	go func() { done <- bot.SyncWithContext(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil && ctx.Err() == nil {
			t.Errorf("bot's sync ended: %v", err)
		}
	}
}

// TestBot is a mautrix-go bot's life: invited, talking, outliving a restart of
// the server, and started again itself from its token and position.
func TestBot(t *testing.T) {
	s := startServer(t)
	alice, bot := register(t, s.base, "alice"), register(t, s.base, "echo")
	store := mautrix.NewMemorySyncStore()
	stop := startBot(t, bot, store)

	room := alice.createRoom(t, map[string]any{"preset": "private_chat", "invite": []string{bot.id}})
	waitFor(t, "the bot joins", func() bool {
		return alice.ok(t, "GET", inRoom(room, "joined_members"), nil).Get("joined." + escapeKey(bot.id)).Exists()
	})
	echoes := func(text string) {
		t.Helper()
		alice.say(t, room, text)
		waitFor(t, "the echo of "+text, func() bool { return countEchoes(t, alice, room, text) > 0 })
	}
	echoes("one")

	s.stop()
	s.start()
	echoes("two")

	stop()
	alice.say(t, room, "while you were out")
	defer startBot(t, bot, store)()
	echoes("three")
	waitFor(t, "the missed message is echoed", func() bool { return countEchoes(t, alice, room, "while you were out") > 0 })
	for _, text := range []string{"one", "two", "three", "while you were out"} {
		if n := countEchoes(t, alice, room, text); n != 1 {
			t.Errorf("%q was echoed %d times", text, n)
		}
	}
}

func countEchoes(t *testing.T, u *user, room, text string) int {
	t.Helper()
	n := 0
	for _, ev := range u.ok(t, "GET", inRoom(room, "messages?dir=b&limit=100"), nil).Get("chunk").Array() {
		if strings.TrimPrefix(ev.Get("content.body").String(), "echo: ") == text && ev.Get("content.msgtype").String() == "m.notice" {
			n++
		}
	}
	return n
}

// waitFor polls until check holds; it gives a loaded machine plenty of time.
func waitFor(t testing.TB, what string, check func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !check(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}
