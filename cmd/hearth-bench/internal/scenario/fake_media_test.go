package scenario

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"sync"
)

// handleMedia keeps uploads in memory, and shows one thumbnail of all.
func handleMedia(mux *http.ServeMux) {
	var mu sync.Mutex
	var files [][]byte
	mux.HandleFunc("POST /_matrix/media/v3/upload", reply(func(r *http.Request) any {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		files = append(files, b)
		return map[string]any{"content_uri": fmt.Sprintf("mxc://fake/%d", len(files)-1)}
	}))
	const api = "/_matrix/client/v1/media/"
	mux.HandleFunc("GET "+api+"download/fake/{id}", func(w http.ResponseWriter, r *http.Request) {
		var id int
		_, _ = fmt.Sscan(r.PathValue("id"), &id)
		mu.Lock()
		defer mu.Unlock()
		_, _ = w.Write(files[id])
	})
	var thumbnail bytes.Buffer
	_ = png.Encode(&thumbnail, image.NewGray(image.Rect(0, 0, thumbnailWidth, thumbnailHeight)))
	mux.HandleFunc("GET "+api+"thumbnail/fake/{id}", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(thumbnail.Bytes())
	})
}
