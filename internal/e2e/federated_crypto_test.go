package e2e

import (
	"os"
	"os/exec"
	"testing"
)

// TestEncryptionAcrossServers has two people of two servers talk in an encrypted room,
// share pictures, there and in the open, and verify one another, by way of Element's engine.
func TestEncryptionAcrossServers(t *testing.T) {
	installSDK(t)
	one, _ := federating(t)
	two, _ := federating(t)
	register(t, one.base, "alice")
	register(t, two.base, "bob")
	tellFederatedStory(t, one.base, two.base)
}

// tellFederatedStory has alice of one server meet bob of another.
func tellFederatedStory(t *testing.T, here, there string) {
	t.Helper()
	story := exec.Command("node", "federated_crypto.mjs")
	story.Dir = "js"
	story.Env = append(os.Environ(), "HEARTH_URL="+here, "HEARTH_OTHER_URL="+there, "HEARTH_PICTURE="+paint(t))
	out, err := story.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("the story failed: %v", err)
	}
}
