package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

const (
	// narrow is the width of the screen in pixels, that of a small telephone.
	narrow = 360
	// patience is how long a page may take that a loaded machine shows.
	patience = time.Minute
)

// startBrowser runs Chromium without a window until the test ends, and skips the test where there is
// none.
func startBrowser(t *testing.T) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chromium-headless-shell"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("there is no Chromium (on Debian: apt-get install chromium): can't look at pages in a browser")
	}
	// As few processes as will do.
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.DisableGPU, chromedp.Flag("in-process-gpu", true), chromedp.Flag("renderer-process-limit", "1"), chromedp.Flag("disable-site-isolation-trials", true),
		chromedp.Flag("disable-features", "IsolateOrigins,site-per-process,Translate"))
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox)
	}
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(end)
	browser, _ := chromedp.NewContext(allocator)
	t.Cleanup(func() { _ = chromedp.Cancel(browser) }) // how it ends is no concern of Hearth's
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	return browser
}

// tab is one of a browser, in which somebody looks at a server's pages.
type tab struct {
	t   *testing.T
	ctx context.Context
	// home is where the server is.
	home  string
	watch *watch
}

// watch notes what must not happen on any page of a story.
type watch struct {
	home   string
	mu     sync.Mutex // guards faults
	faults []string
}

func (w *watch) fault(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, fmt.Sprintf(format, args...))
}

// newTab is a tab of a browser that has no cookies yet; scripts says whether pages may run any.
func newTab(t *testing.T, browser context.Context, home string, scripts bool) *tab {
	t.Helper()
	w := &watch{home: home}
	b := &tab{t: t, home: home, watch: w}
	b.attach(browser, chromedp.WithNewBrowserContext())
	if !scripts {
		call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	}
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, fault := range w.faults {
			t.Error(fault)
		}
	})
	return b
}

// attach makes the tab that the options say, as narrow as a telephone.
func (b *tab) attach(parent context.Context, options ...chromedp.ContextOption) {
	b.t.Helper()
	ctx, _ := chromedp.NewContext(parent, append(options, chromedp.WithListener(b.watch.listen))...)
	b.ctx = ctx
	b.t.Cleanup(func() { _ = chromedp.Cancel(ctx) }) // one that has closed itself can't be closed
	// The first action's context is the tab's life.
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(narrow, 640)); err != nil {
		b.t.Fatalf("making a tab: %v", err)
	}
}

// another is one more tab of the same browser.
func (b *tab) another() *tab {
	b.t.Helper()
	other := &tab{t: b.t, home: b.home, watch: b.watch}
	other.attach(b.ctx)
	return other
}

// popUp is the tab that a script of this one opens.
func (b *tab) popUp(script string) *tab {
	b.t.Helper()
	opened := chromedp.WaitNewTarget(b.ctx, func(*target.Info) bool { return true })
	b.do("opening another tab", chromedp.Evaluate[chromedp.Void](script))
	p := &tab{t: b.t, home: b.home, watch: b.watch}
	select {
	case id := <-opened:
		p.attach(b.ctx, chromedp.WithTargetID(id))
	case <-time.After(patience):
		b.t.Fatalf("%s opened no tab", script)
	}
	waitFor(b.t, "the other tab shows its page", func() bool { return b.home == "" || strings.HasPrefix(p.where(), b.home) })
	p.do("loading the page", chromedp.WaitReady(chromedp.CSS("h1")))
	p.audit()
	return p
}

// listen notes what scripts and policies complain about, and what is asked of whom.
func (w *watch) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		w.fault("a script failed: %s", e.ExceptionDetails.Text)
	case *runtime.EventConsoleAPICalled:
		w.fault("a script said something: %s", e.Type)
	case *log.EventEntryAdded:
		// That an answer is a refusal is what stories are about; what is verbose is advice, which changes.
		if e.Entry.Level != log.EntryLevelVerbose && !strings.Contains(e.Entry.Text, "the server responded with a status of 4") {
			w.fault("the browser complains: %s (%s)", e.Entry.Text, e.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if strings.HasPrefix(e.DocumentURL, w.home) && e.Type != network.ResourceTypeDocument && !strings.HasPrefix(e.Request.URL, w.home+"/") {
			w.fault("%s loads %s", e.DocumentURL, e.Request.URL)
		}
	case *network.EventResponseReceived:
		if e.Response.Status >= 500 {
			w.fault("%s is answered with %d", e.Response.URL, e.Response.Status)
		}
	case *network.EventLoadingFailed:
		// The browser's own tools look for what they show in the cache, where pages are not kept.
		if !e.Canceled && e.ErrorText != "net::ERR_CACHE_MISS" {
			w.fault("something can't be loaded: %s %s", e.ErrorText, e.BlockedReason)
		}
	}
}

// limited is the tab's context for one action.
func (b *tab) limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.ctx, patience)
}

func (b *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s at %s: %v", what, b.where(), err)
	}
}

// loads does what leads to a page, and looks at that if it is of the server's.
func (b *tab) loads(what string, act func(context.Context) (*network.Response, error)) {
	b.t.Helper()
	ctx, cancel := b.limited()
	defer cancel()
	if res, err := act(ctx); err != nil || res == nil {
		b.t.Fatalf("%s: %v; at %s: %s", what, cmp.Or(err, errors.New("no page")), b.where(), b.text())
	}
	if strings.HasPrefix(b.where(), b.home+"/") {
		b.audit()
	}
}

// open goes to a page.
func (b *tab) open(url string) {
	b.t.Helper()
	b.loads("opening "+url, func(ctx context.Context) (*network.Response, error) {
		return chromedp.Run(ctx, chromedp.NavigateResponse(url))
	})
}

// where is the page's URL.
func (b *tab) where() string {
	ctx, cancel := b.limited()
	defer cancel()
	at, err := chromedp.Run(ctx, chromedp.Location())
	if err != nil {
		return fmt.Sprintf("nowhere: %v", err)
	}
	return at
}

// text is what the page shows.
func (b *tab) text() string {
	ctx, cancel := b.limited()
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body ? document.body.innerText : ''"))
	if err != nil {
		return fmt.Sprintf("no text: %v", err)
	}
	return text
}

// sees waits until the page shows everything that is wanted.
func (b *tab) sees(wanted ...string) {
	b.t.Helper()
	for _, words := range wanted {
		end := time.Now().Add(patience)
		for !strings.Contains(b.text(), words) {
			if time.Now().After(end) {
				b.t.Fatalf("%s doesn't show %q but:\n%s", b.where(), words, b.text())
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// at fails the test unless the tab is at a URL that begins so.
func (b *tab) at(prefix string) {
	b.t.Helper()
	if at := b.where(); !strings.HasPrefix(at, prefix) {
		b.t.Fatalf("at %s instead of %s:\n%s", at, prefix, b.text())
	}
}
