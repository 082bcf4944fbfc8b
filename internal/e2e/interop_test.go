package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/hex"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// peer is another homeserver, which isn't Hearth.
type peer struct {
	t          *testing.T
	base, name string
	dir        string
	command    []string
	cmd        *exec.Cmd
	output     bytes.Buffer // of the program that runs: read once it has ended
	told       string       // by those that ran before
}

// startPeer runs another homeserver until the test ends.
func startPeer(t *testing.T, client, name, dir string, command ...string) *peer {
	t.Helper()
	p := &peer{t: t, base: "http://" + client, name: name, dir: dir, command: command}
	p.start()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s:\n%s", command[0], tail(p.told, 60))
		}
	})
	return p
}

func (p *peer) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.command[0], p.command[1:]...)
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = p.dir, &p.output, &p.output
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		res, err := httpClient.Get(p.base + "/_matrix/client/versions")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%s doesn't start: %v", p.command[0], err)
		}
	}
}

func (p *peer) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait() // how it ended doesn't matter
	p.told += p.output.String()
	p.output.Reset()
}

// user makes an account by the shared secret.
func (p *peer) user(name string) *user {
	p.t.Helper()
	anybody := &user{base: p.base}
	const path = "/_synapse/admin/v1/register"
	nonce := anybody.ok(p.t, "GET", path, nil).Get("nonce").Str
	mac := hmac.New(sha1.New, []byte("interop"))
	mac.Write([]byte(strings.Join([]string{nonce, name, password, "notadmin"}, "\x00")))
	return session(p.base, anybody.ok(p.t, "POST", path, map[string]any{"nonce": nonce, "username": name, "password": password, "admin": false,
		"mac": hex.EncodeToString(mac.Sum(nil))}))
}

// party is somebody with the name of their server.
type party struct {
	*user
	server string
}

func TestInteropDendrite(t *testing.T) {
	interoperate(t, dendrite(t), map[string]string{
		"memberships/of Hearth": "a kicked user's /sync never lists the room as left",
		"directory/of Hearth":   "a client is answered 500 for an alias that its server doesn't know",
		"media/of Hearth":       "a small thumbnail of another server's picture is the picture",
		"state/of the other":    "gomatrixserverlib looks for redacts outside of the content, where room version 11 doesn't have it",
	})
}

func TestInteropSynapse(t *testing.T) { interoperate(t, synapse(t), nil) }

// interoperate has people of Hearth and of another homeserver do with one another what
// people do, in rooms that either made, except for what the other can't for a reason.
func interoperate(t *testing.T, p *peer, cannot map[string]string) {
	s, own := federating(t)
	alice, bob := party{register(t, s.base, "alice"), own}, party{p.user("bob"), p.name}
	for _, story := range []struct {
		name string
		tell func(t *testing.T, host, guest party)
	}{
		{"rooms", shareRooms}, {"memberships", comeAndGo}, {"knock", knock}, {"restricted", joinRestricted}, {"history", readHistory},
		{"upgrade", moveOn}, {"profile", knowNames}, {"talking", typeAndRead}, {"presence", beOnline}, {"directory", findRooms},
		{"media", showPictures}, {"devices", reachDevices}, {"state", changeState},
	} {
		t.Run(story.name, func(t *testing.T) {
			told := func(side string, host, guest party) {
				t.Run(side, func(t *testing.T) {
					if why := cannot[story.name+"/"+side]; why != "" {
						t.Skip(why)
					}
					story.tell(t, host, guest)
				})
			}
			told("of Hearth", alice, bob)
			told("of the other", bob, alice)
		})
	}
	t.Run("encryption", func(t *testing.T) {
		installSDK(t)
		register(t, s.base, "bob")
		p.user("alice")
		t.Setenv("HEARTH_PEER", p.name)
		t.Run("of Hearth", func(t *testing.T) { tellFederatedStory(t, s.base, p.base) })
		t.Run("of the other", func(t *testing.T) { tellFederatedStory(t, p.base, s.base) })
	})
	t.Run("outage", func(t *testing.T) { goAway(t, s, p, alice, bob) })
}
