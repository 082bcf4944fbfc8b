package mediaapi

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"hearth/internal/httpapi"
	"hearth/internal/publicaddr"
	"hearth/mediaapi/preview"
	"hearth/storage"
)

const (
	// maxPage and maxOEmbed bound what is read of a page and of a document about it;
	// maxPicture what its picture may have. All in bytes, decompressed.
	maxPage, maxOEmbed, maxPicture = 3 << 20, 64 << 10, 10 << 20
	// maxLink bounds the address of a page, in bytes.
	maxLink = 2048
	// previewLifetime is how long a preview is kept, failureLifetime how long a page
	// isn't asked for again that couldn't be had.
	previewLifetime, failureLifetime = 6 * time.Hour, 5 * time.Minute
	// maxPreviews bounds the previews that are kept, give or take pruneAfter new ones;
	// maxFailures the failures.
	maxPreviews, pruneAfter, maxFailures = 50_000, 5_000, 10_000
	// maxPreviewing bounds the pages that are looked at, at once.
	maxPreviewing = 32
	// retryPreview is when to ask again for what a busy server didn't look at.
	retryPreview = 5 * time.Second
)

// PreviewOptions say which pages are looked at.
type PreviewOptions struct {
	// AllowPrivateRanges lets connections go to loopback and private addresses.
	AllowPrivateRanges bool
	// Deny are hosts, *.example.org for all below a name, and beginnings of addresses
	// such as example.org/private/.
	Deny []string
}

// previewer looks at the pages that users write of, each once however many ask.
type previewer struct {
	api      *API
	ctx      context.Context // ends with the API
	web      *web
	flights  singleflight.Group
	places   *semaphore.Weighted
	failures *expirable.LRU[[sha256.Size]byte, error]
	added    atomic.Int64
}

func newPreviewer(ctx context.Context, a *API, o *PreviewOptions) *previewer {
	return &previewer{
		api: a, ctx: ctx, web: newWeb(o.AllowPrivateRanges, o.Deny), places: semaphore.NewWeighted(maxPreviewing),
		failures: expirable.NewLRU[[sha256.Size]byte, error](maxFailures, nil, failureLifetime),
	}
}

// wait returns when no page is being looked at; the context that the previewer was
// given must have ended.
func (p *previewer) wait() {
	// It never fails: the context never ends.
	_ = p.places.Acquire(context.Background(), maxPreviewing)
}

// getPreview answers GET /_matrix/client/v1/media/preview_url and its predecessors. At
// which time the page was to be looked at (ts) is not heeded: there is one preview of it.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1mediapreview_url
func (p *previewer) getPreview(r *http.Request, _ *httpapi.Requester) (any, error) {
	q := r.URL.Query()
	if ts := q.Get("ts"); ts != "" {
		if _, err := strconv.ParseInt(ts, 10, 64); err != nil {
			return nil, httpapi.InvalidParam("ts isn't a time in milliseconds")
		}
	}
	link := q.Get("url")
	if link == "" {
		return nil, httpapi.MissingParam("url is missing")
	}
	if len(link) > maxLink {
		return nil, httpapi.InvalidParam("url is longer than %d bytes", maxLink)
	}
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, httpapi.InvalidParam("url is no address of a page")
	}
	u.Fragment = ""
	answer, err := p.get(r.Context(), u.String())
	return httpapi.Raw(answer), err
}

// previewError is what those are told who asked about a page that can't be had.
func previewError(err error) error {
	var private *publicaddr.Error
	// What is inside of this network is nobody's business: it looks like what is denied.
	if errors.Is(err, errDenied) || errors.As(err, &private) {
		return httpapi.Forbidden("This server doesn't look at pages of this address")
	}
	e := httpapi.New(http.StatusBadGateway, "M_UNKNOWN", "This page could not be looked at")
	e.Err = err
	return e
}

// get returns the preview of a page, made now if need be.
func (p *previewer) get(ctx context.Context, link string) ([]byte, error) {
	hash := sha256.Sum256([]byte(link))
	if err, failed := p.failures.Get(hash); failed {
		return nil, err
	}
	answer, err := p.api.db.GetURLPreview(ctx, p.api.serverName, hash[:])
	if !errors.Is(err, storage.ErrNotFound) {
		return answer, err
	}
	done := p.flights.DoChan(string(hash[:]), func() (any, error) {
		// Another may have looked since.
		if answer, err := p.api.db.GetURLPreview(p.ctx, p.api.serverName, hash[:]); !errors.Is(err, storage.ErrNotFound) {
			return answer, err
		}
		return p.look(hash, link)
	})
	select {
	case result := <-done:
		answer, _ := result.Val.([]byte)
		return answer, result.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// look makes a preview and keeps it, or remembers that it can't be made.
func (p *previewer) look(hash [sha256.Size]byte, link string) (answer []byte, err error) {
	if !p.places.TryAcquire(1) {
		return nil, httpapi.Unavailable(retryPreview, "The server is busy looking at other pages")
	}
	defer p.places.Release(1)
	defer func() {
		if v := recover(); v != nil { // nobody else would: this isn't the request's goroutine
			answer, err = nil, fmt.Errorf("looking at a page panicked: %v", v)
		}
		if err != nil && p.ctx.Err() == nil {
			p.failures.Add(hash, err)
		}
	}()
	asking, cancel := context.WithTimeout(p.ctx, 2*webTimeout)
	shown, mediaID, err := p.describe(asking, link)
	cancel()
	if err != nil {
		return nil, previewError(err)
	}
	if answer, err = json.Marshal(shown); err != nil {
		return nil, fmt.Errorf("writing a preview: %w", err)
	}
	kept := &storage.URLPreview{Hash: hash[:], MediaID: mediaID, Answer: answer}
	if err := p.api.db.SetURLPreview(p.ctx, kept, previewLifetime); err != nil {
		return nil, err
	}
	if p.added.Add(1)%pruneAfter == 0 {
		return answer, p.api.db.PruneURLPreviews(p.ctx, maxPreviews)
	}
	return answer, nil
}

// describe asks for a page and returns what is shown of it, and the id of its picture
// among this server's media, "" for none.
func (p *previewer) describe(ctx context.Context, link string) (shown map[string]any, mediaID string, err error) {
	found, err := p.web.get(ctx, link, "text/html,application/xhtml+xml,image/*;q=0.9,*/*;q=0.1")
	if err != nil {
		return nil, "", err
	}
	defer found.Body.Close()
	mediaType, _, _ := mime.ParseMediaType(found.Header.Get("Content-Type"))
	switch {
	case mediaType == "text/html" || mediaType == "application/xhtml+xml":
		return p.describePage(ctx, found)
	case strings.HasPrefix(mediaType, "image/"):
		name := found.URL.Path[strings.LastIndexByte(found.URL.Path, '/')+1:]
		shown = map[string]any{"og:url": found.URL.String(), "og:type": "website", "og:title": preview.Line(name)}
		mediaID, err = p.keepPicture(ctx, found.Body, shown)
		return shown, mediaID, err
	}
	return map[string]any{}, "", nil // nothing that a preview could show
}

func (p *previewer) describePage(ctx context.Context, found *page) (map[string]any, string, error) {
	said := preview.Parse(io.LimitReader(found.Body, maxPage), found.Header.Get("Content-Type"), found.URL)
	found.Body.Close()
	if said.OEmbed != "" && (said.Title == "" || said.Description == "" || said.Image == "" || said.SiteName == "") {
		p.askOEmbed(ctx, said)
	}
	shown := map[string]any{}
	for name, value := range map[string]string{
		"og:title": said.Title, "og:description": said.Description, "og:site_name": said.SiteName, "og:type": said.Type,
		"og:url": said.URL, "og:image:alt": said.ImageAlt,
	} {
		if value != "" {
			shown[name] = value
		}
	}
	if said.Image == "" {
		return shown, "", nil
	}
	picture, err := p.web.get(ctx, said.Image, "image/*")
	if err == nil {
		defer picture.Body.Close()
		var id string
		if id, err = p.keepPicture(ctx, picture.Body, shown); err == nil {
			return shown, id, nil
		}
	}
	p.api.log.Debug("a page's picture can't be had", slog.Any("error", err))
	delete(shown, "og:image:alt")
	return shown, "", nil
}

// askOEmbed adds what a document about the page says. One that can't be had adds nothing.
func (p *previewer) askOEmbed(ctx context.Context, said *preview.Page) {
	found, err := p.web.get(ctx, said.OEmbed, "application/json")
	if err != nil {
		return
	}
	defer found.Body.Close()
	document, err := io.ReadAll(io.LimitReader(found.Body, maxOEmbed))
	if err == nil {
		said.AddOEmbed(document, found.URL)
	}
}

// keepPicture makes a picture this server's media and describes it in shown. Whatever
// it is said to be, it must be a picture that thumbnails can be made of.
func (p *previewer) keepPicture(ctx context.Context, body io.Reader, shown map[string]any) (string, error) {
	a := p.api
	file, err := a.store.receive(body, maxPicture)
	if err != nil {
		return "", err
	}
	size := file.size
	info, err := file.inspect()
	if err != nil {
		file.discard()
		return "", err
	}
	m := &storage.Media{Origin: a.serverName, ID: newMediaID(), ContentType: info.ContentType()}
	if err := a.keep(ctx, m, file); err != nil {
		return "", err
	}
	if err := a.db.KeepRemoteMedia(ctx, m); err != nil {
		return "", err
	}
	a.cache.add(size)
	shown["og:image"], shown["og:image:type"], shown["matrix:image:size"] = mxc(m), m.ContentType, size
	shown["og:image:width"], shown["og:image:height"] = info.Width, info.Height
	return m.ID, nil
}
