package syncapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// maxTags bounds the tags of a room, and maxTag the name of one, in bytes.
const maxTags, maxTag = 100, 255

// tagging keeps two changes of one user's tags from overwriting each other.
var tagging [64]sync.Mutex

func taggingOf(userID string) *sync.Mutex {
	h := 0
	for i := 0; i < len(userID); i++ {
		h = h*31 + int(userID[i])
	}
	return &tagging[uint(h)%uint(len(tagging))]
}

// tags is the content of m.tag.
type tags struct {
	Tags map[string]json.RawMessage `json:"tags"`
}

func (a *API) readTags(r *http.Request, userID, roomID string) (tags, error) {
	t := tags{Tags: map[string]json.RawMessage{}}
	content, err := a.db.GetAccountData(r.Context(), userID, roomID, "m.tag")
	if errors.Is(err, storage.ErrNotFound) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	var stored tags
	if json.Unmarshal(content, &stored) == nil && stored.Tags != nil {
		t = stored // a client may have put anything there; what isn't tags counts as none
	}
	return t, nil
}

// getTags answers GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags.
//
// https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3useruseridroomsroomidtags
func (a *API) getTags(r *http.Request, u *httpapi.Requester) (any, error) {
	roomID, err := dataPath(r, u)
	if err != nil {
		return nil, err
	}
	return a.readTags(r, u.UserID, roomID)
}

// putTag answers PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}.
//
// https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3useruseridroomsroomidtagstag
func (a *API) putTag(r *http.Request, u *httpapi.Requester) (any, error) {
	body, err := httpapi.ReadJSON(r)
	if err != nil {
		return nil, err
	}
	var content struct {
		Order *float64 `json:"order"`
	}
	if err := httpapi.Unmarshal(body, &content); err != nil {
		return nil, err
	}
	if content.Order != nil && (*content.Order < 0 || *content.Order > 1) {
		return nil, httpapi.InvalidParam("order must be between 0 and 1")
	}
	tag := httpapi.Var(r, "tag")
	if len(tag) > maxTag {
		return nil, httpapi.InvalidParam("The tag is longer than %d bytes", maxTag)
	}
	return nil, a.changeTags(r, u, func(t *tags) error {
		if _, ok := t.Tags[tag]; !ok && len(t.Tags) >= maxTags {
			return httpapi.InvalidParam("The room has %d tags, the most there may be", maxTags)
		}
		t.Tags[tag] = body
		return nil
	})
}

// deleteTag answers DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}.
//
// https://spec.matrix.org/v1.19/client-server-api/#delete_matrixclientv3useruseridroomsroomidtagstag
func (a *API) deleteTag(r *http.Request, u *httpapi.Requester) (any, error) {
	return nil, a.changeTags(r, u, func(t *tags) error {
		delete(t.Tags, httpapi.Var(r, "tag"))
		return nil
	})
}

func (a *API) changeTags(r *http.Request, u *httpapi.Requester, change func(*tags) error) error {
	roomID, err := dataPath(r, u)
	if err != nil {
		return err
	}
	mu := taggingOf(u.UserID)
	mu.Lock()
	defer mu.Unlock()
	t, err := a.readTags(r, u.UserID, roomID)
	if err != nil {
		return err
	}
	if err := change(&t); err != nil {
		return err
	}
	content, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return a.setAccountData(r, storage.AccountData{UserID: u.UserID, RoomID: roomID, Type: "m.tag", Content: content})
}
