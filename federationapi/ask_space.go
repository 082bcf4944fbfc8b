package federationapi

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"

	"hearth/federationapi/client"
	"hearth/roomserver"
)

const (
	// maxSpaceAnswer bounds what another server tells of a space, in bytes, and
	// spaceTimeout the wait for it.
	maxSpaceAnswer = 4 << 20
	spaceTimeout   = 8 * time.Second
	// maxSpaceServers bounds the servers that are asked for one space.
	maxSpaceServers = 3
	// spacesBudget bounds what is remembered of spaces, in bytes, and spacesFor how long.
	spacesBudget = 16 << 20
	spacesFor    = 2 * time.Minute
)

// spaces remembers for a short time what other servers have told of spaces and rooms.
type spaces = otter.Cache[string, *toldSpace]

// toldSpace is an answer.
type toldSpace struct {
	space *roomserver.Space
	size  int
}

func newSpaces() *spaces {
	return otter.Must(&otter.Options[string, *toldSpace]{
		MaximumWeight:    spacesBudget,
		Weigher:          func(key string, t *toldSpace) uint32 { return uint32(2*t.size + len(key) + 200) },
		ExpiryCalculator: otter.ExpiryWriting[string, *toldSpace](spacesFor),
	})
}

// AskSpace asks other servers to describe a room that this server isn't in and, if it
// is a space, its children. It returns nil if none of them does. What is returned is
// shared and must not be changed.
func (a *API) AskSpace(ctx context.Context, roomID string, via []string, suggestedOnly bool) *roomserver.Space {
	servers := a.spaceServers(via)
	key := strings.Join(append(servers, roomID, strconv.FormatBool(suggestedOnly)), " ")
	if t, ok := a.spaces.GetIfPresent(key); ok {
		return t.space
	}
	for _, server := range servers {
		space, size, err := a.askSpaceOf(ctx, server, roomID, suggestedOnly)
		if err == nil {
			a.spaces.Set(key, &toldSpace{space, size})
			return space
		}
		a.log.Debug("a server doesn't describe a room", "server", server, "room", roomID, "err", err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil // what nobody tells isn't remembered: it may be told as soon as somebody has joined something
}

// spaceServers are the servers to ask, of those that were named.
func (a *API) spaceServers(via []string) (servers []string) {
	for _, server := range via {
		if server != "" && server != a.serverName && !slices.Contains(servers, server) && len(servers) < maxSpaceServers {
			servers = append(servers, server)
		}
	}
	return servers
}

func (a *API) askSpaceOf(ctx context.Context, server, roomID string, suggestedOnly bool) (*roomserver.Space, int, error) {
	answer, err := a.client.Do(ctx, client.Request{Method: http.MethodGet, Server: server, MaxAnswer: maxSpaceAnswer, Timeout: spaceTimeout,
		URI: client.Path("/_matrix/federation/v1/hierarchy", roomID) + "?suggested_only=" + strconv.FormatBool(suggestedOnly)})
	if err != nil {
		return nil, 0, err
	}
	var space roomserver.Space
	if err := json.Unmarshal(answer, &space); err != nil {
		return nil, 0, badAnswer(server, "It isn't a space: %v", err)
	}
	if space.Room.RoomID != roomID {
		return nil, 0, badAnswer(server, "It describes another room")
	}
	space.Room.Clean()
	space.Room.Children = roomserver.SortSpaceChildren(space.Room.Children, suggestedOnly)
	named := map[string]bool{}
	for _, c := range space.Room.Children {
		named[c.RoomID] = true
	}
	space.Children = slices.DeleteFunc(space.Children, func(d roomserver.Description) bool { return !named[d.RoomID] })
	for i := range space.Children {
		space.Children[i].Clean()
	}
	return &space, len(answer), nil
}
