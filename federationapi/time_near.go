package federationapi

import (
	"context"
	"net/url"
	"strconv"

	"hearth/federationapi/client"
	"hearth/roomserver"
	"hearth/storage"
)

// maxTimeServers bounds the servers that are asked which event is close to a time.
const maxTimeServers = 3

// TimeNear asks servers in a room for the time of the event that is closest to a time, at
// it or after it if forward, else at it or before it: until one knows of any.
//
// https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1timestamp_to_eventroomid
func (a *API) TimeNear(ctx context.Context, v *roomserver.View, gap *storage.Gap, ts int64, forward bool) (int64, bool) {
	ctx, cancel := context.WithTimeout(ctx, backfillAnswerTime)
	defer cancel()
	query := url.Values{"ts": {strconv.FormatInt(ts, 10)}, "dir": {"b"}}
	if forward {
		query.Set("dir", "f")
	}
	servers := a.backfillServers(ctx, v, gap)
	for _, server := range servers[:min(len(servers), maxTimeServers)] {
		var answer struct {
			EventID string `json:"event_id"`
			TS      int64  `json:"origin_server_ts"`
		}
		err := a.client.Get(ctx, server, client.Path("/_matrix/federation/v1/timestamp_to_event", v.Room.ID)+"?"+query.Encode(), &answer)
		if err == nil && (forward && answer.TS >= ts || !forward && answer.TS <= ts) {
			return answer.TS, true
		}
		a.log.Debug("a server knows of no event near a time", "room", v.Room.ID, "server", server, "err", err)
	}
	return 0, false
}
