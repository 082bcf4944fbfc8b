package e2e

import (
	"image"
	"image/color"
	"image/png"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestElementEngine runs the story in js/: two people on three devices, by way
// of matrix-js-sdk, the engine of Element.
func TestElementEngine(t *testing.T) { tellStory(t, "story.mjs") }

// TestThreads has one talk in threads and another read them.
func TestThreads(t *testing.T) { tellStory(t, "threads.mjs") }

// TestEncryption has two people talk in an encrypted room.
func TestEncryption(t *testing.T) { tellStory(t, "crypto.mjs") }

// TestOAuthEngine logs in by OAuth 2.0, on a page and by a code.
func TestOAuthEngine(t *testing.T) {
	installSDK(t)
	s := newServer(t)
	t.Setenv("HEARTH_PUBLIC_BASE_URL", s.base)
	t.Setenv("HEARTH_OAUTH_ENABLED", "true")
	s.start()
	tellStoryOf(t, s, "oauth.mjs")
}

func tellStory(t *testing.T, script string) {
	t.Helper()
	installSDK(t)
	tellStoryOf(t, startServer(t), script)
}

func tellStoryOf(t *testing.T, s *server, script string) {
	t.Helper()
	story := exec.Command("node", script)
	story.Dir = "js"
	story.Env = append(os.Environ(), "HEARTH_URL="+s.base, "HEARTH_PICTURE="+paint(t))
	out, err := story.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("the story failed: %v", err)
	}
}

// installSDK fills js/node_modules from the lock file, once.
func installSDK(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skip("npm isn't installed: can't run matrix-js-sdk")
	}
	if _, err := os.Stat("js/node_modules/.package-lock.json"); err == nil {
		return
	}
	install := exec.Command("npm", "ci", "--no-audit", "--no-fund")
	install.Dir = "js"
	if out, err := install.CombinedOutput(); err != nil {
		t.Skipf("npm can't install matrix-js-sdk (%v):\n%s", err, tail(string(out), 20))
	}
}

// paint makes a picture that doesn't compress away to nothing.
func paint(t *testing.T) string {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 320, 200))
	for y := range 200 {
		for x := range 320 {
			img.Set(x, y, color.RGBA{uint8(200 + rand.IntN(55)), uint8(y), uint8(rand.IntN(80)), 255})
		}
	}
	file, err := os.Create(filepath.Join(t.TempDir(), "fire.png"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := png.Encode(file, img); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}
