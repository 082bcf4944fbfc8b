package clientapi

import (
	"slices"

	"hearth/internal/httpapi"
)

// registerFinding adds the routes by which rooms, people and what they said are found,
// under the names that they had before they were specified as well.
func (a *API) registerFinding(s *httpapi.Server) {
	const v1, unstable = "/_matrix/client/v1", "/_matrix/client/unstable/"
	s.Register([]string{v1, unstable + "org.matrix.msc2946"}, a.spaceRoutes())
	s.Register(httpapi.ClientPrefixes, slices.Concat(a.searchRoutes(), a.userDirectoryRoutes(), a.initialSyncRoutes()))
	s.Register([]string{v1}, a.mutualRoomsRoute("/mutual_rooms"))
	s.Register([]string{unstable + "uk.half-shot.msc2666"}, a.mutualRoomsRoute("/user/mutual_rooms"))
	s.Register([]string{v1, unstable + "org.matrix.msc3030"}, a.timestampRoutes())
	s.Register([]string{v1}, a.roomSummaryRoute("/room_summary/{roomIdOrAlias}"))
	s.Register([]string{unstable + "im.nheko.summary"}, slices.Concat(
		a.roomSummaryRoute("/rooms/{roomIdOrAlias}/summary"), a.roomSummaryRoute("/summary/{roomIdOrAlias}")))
}
