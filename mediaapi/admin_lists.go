package mediaapi

import (
	"errors"
	"net/http"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

// mediaPage reads which page of a list is asked for.
func mediaPage(r *http.Request) (p storage.MediaPage, err error) {
	p.OrderBy = r.URL.Query().Get("order_by")
	if p.From, p.Limit, err = httpapi.PageParams(r, defaultPage, maxAdminPage); err != nil {
		return p, err
	}
	switch r.URL.Query().Get("dir") {
	case "", "f":
		// The newest first, unless a column is named.
		p.Descending = p.OrderBy == ""
	case "b":
		p.Descending = true
	default:
		return p, httpapi.InvalidParam("dir is neither f nor b")
	}
	return p, nil
}

// localUser is the user in the request's path, who must be of this server.
func (a *API) localUser(r *http.Request) (string, error) {
	userID := httpapi.Var(r, "userId")
	if !userid.IsLocal(userID, a.serverName) {
		return "", httpapi.New(http.StatusBadRequest, "M_UNKNOWN", "This is no user of this server")
	}
	_, err := a.db.GetProfile(r.Context(), userID)
	if errors.Is(err, storage.ErrNotFound) {
		return "", httpapi.NotFound("There is no such user")
	}
	return userID, err
}

// userMedia reads the page that a request asks for of the media of the user it names, and
// how many there are in all.
func (a *API) userMedia(r *http.Request) (list []storage.MediaDetails, p storage.MediaPage, total int64, err error) {
	userID, err := a.localUser(r)
	if err != nil {
		return nil, p, 0, err
	}
	if p, err = mediaPage(r); err != nil {
		return nil, p, 0, err
	}
	if !p.SortsUserMedia() {
		return nil, p, 0, httpapi.InvalidParam("order_by is no column of this list")
	}
	list, total, err = a.db.UserMedia(r.Context(), userID, p)
	return list, p, total, err
}

func (a *API) adminUserMedia(r *http.Request, _ *httpapi.Requester) (any, error) {
	list, p, total, err := a.userMedia(r)
	if err != nil {
		return nil, err
	}
	media := []map[string]any{}
	for i := range list {
		media = append(media, details(&list[i]))
	}
	answer := map[string]any{"media": media, "total": total}
	if next := p.From + len(list); int64(next) < total && len(list) > 0 {
		answer["next_token"] = next
	}
	return answer, nil
}

func (a *API) adminTotals(r *http.Request, _ *httpapi.Requester) (any, error) {
	p, err := mediaPage(r)
	if err != nil {
		return nil, err
	}
	if p.Descending = r.URL.Query().Get("dir") == "b"; !p.SortsUserTotals() {
		return nil, httpapi.InvalidParam("order_by is no column of this list")
	}
	from, err := timeParam(r, "from_ts")
	if err != nil {
		return nil, err
	}
	until, err := timeParam(r, "until_ts")
	if err != nil {
		return nil, err
	}
	list, total, err := a.db.UserMediaTotals(r.Context(), r.URL.Query().Get("search_term"), from, until, p)
	if err != nil {
		return nil, err
	}
	users := []map[string]any{}
	for _, t := range list {
		users = append(users, map[string]any{"user_id": t.UserID, "displayname": nullable(t.DisplayName), "media_count": t.Media, "media_length": t.Bytes})
	}
	answer := map[string]any{"users": users, "total": total}
	if next := p.From + len(list); int64(next) < total && len(list) > 0 {
		answer["next_token"] = next
	}
	return answer, nil
}
