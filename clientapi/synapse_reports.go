package clientapi

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// This file is the part of Synapse's admin API by which administrators read what users have
// reported, and, in the same shape, of rooms.

func (a *API) synapseReportRoutes() []httpapi.Route {
	var routes []httpapi.Route
	for _, kind := range []string{"event", "room", "user"} {
		path := "/_synapse/admin/v1/" + kind + "_reports"
		routes = append(routes,
			httpapi.Route{Method: "GET", Path: path, Handle: func(r *http.Request, _ *httpapi.Requester) (any, error) { return a.listReports(r, kind) }},
			httpapi.Route{Method: "GET", Path: path + "/{reportId}", Handle: func(r *http.Request, _ *httpapi.Requester) (any, error) { return a.getReport(r, kind) }},
			httpapi.Route{Method: "DELETE", Path: path + "/{reportId}", Handle: func(r *http.Request, _ *httpapi.Requester) (any, error) { return a.deleteReport(r, kind) }})
	}
	return httpapi.ForAdmins(routes)
}

// maxReportPage bounds the reports in an answer.
const maxReportPage = 500

func (a *API) listReports(r *http.Request, kind string) (any, error) {
	q := r.URL.Query()
	query := storage.ReportQuery{Kind: kind, Reporter: q.Get("user_id"), Target: q.Get("event_sender_user_id"), RoomID: q.Get("room_id"),
		OldestFirst: q.Get("dir") == "f"}
	if kind == "user" {
		query.Target = q.Get("target_user_id")
	}
	var err error
	if query.Offset, query.Limit, err = httpapi.PageParams(r, 100, maxReportPage); err != nil {
		return nil, err
	}
	if dir := q.Get("dir"); dir != "" && dir != "f" && dir != "b" {
		return nil, httpapi.InvalidParam("dir must be f or b")
	}
	reports, total, err := a.db.Reports(r.Context(), query)
	if err != nil {
		return nil, err
	}
	list := make([]map[string]any, 0, len(reports))
	for _, report := range reports {
		list = append(list, showReport(&report))
	}
	answer := map[string]any{kind + "_reports": list, "total": total}
	if next := query.Offset + len(list); len(list) > 0 && next < total {
		answer["next_token"] = next
	}
	return answer, nil
}

func (a *API) getReport(r *http.Request, kind string) (any, error) {
	id, err := reportID(r)
	if err != nil {
		return nil, err
	}
	report, err := a.db.GetReport(r.Context(), kind, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, httpapi.NotFound("There is no such report")
	}
	if err != nil {
		return nil, err
	}
	shown := showReport(report)
	if kind != "event" {
		return shown, nil
	}
	e, err := a.rooms.EventByID(r.Context(), report.RoomID, report.EventID)
	if err == nil {
		shown["event_json"] = json.RawMessage(e.JSON)
	}
	if errors.Is(err, storage.ErrNotFound) {
		err = nil
	}
	return shown, err
}

func (a *API) deleteReport(r *http.Request, kind string) (any, error) {
	id, err := reportID(r)
	if err != nil {
		return nil, err
	}
	err = a.db.DeleteReport(r.Context(), kind, id)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, httpapi.NotFound("There is no such report")
	}
	return nil, err
}

func reportID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(httpapi.Var(r, "reportId"), 10, 64)
	if err != nil || id < 0 {
		return 0, httpapi.InvalidParam("The id of a report is a number that isn't negative")
	}
	return id, nil
}

// showReport is a report as Synapse shows it.
func showReport(report *storage.Report) map[string]any {
	shown := map[string]any{"id": report.ID, "received_ts": report.ReceivedAt, "user_id": report.Reporter, "reason": report.Reason}
	switch report.Kind {
	case "user":
		shown["target_user_id"] = report.Target
		return shown
	case "event":
		shown["event_id"], shown["sender"], shown["score"] = report.EventID, report.Target, nil
	}
	shown["room_id"], shown["name"], shown["canonical_alias"] = report.RoomID, orNull(report.RoomName), orNull(report.RoomAlias)
	return shown
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
