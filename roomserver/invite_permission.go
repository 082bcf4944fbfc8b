package roomserver

import (
	"context"
	"errors"
	"net/http"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/storage"
)

// TakesInvites returns M_INVITE_BLOCKED for a user of this server who wants no invitations.
//
// https://spec.matrix.org/v1.19/client-server-api/#invite-permission
func (s *Server) TakesInvites(ctx context.Context, userID string) error {
	content, err := s.db.GetAccountData(ctx, userID, "", "m.invite_permission_config")
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	if err == nil && BlocksInvites(content) {
		return httpapi.New(http.StatusForbidden, "M_INVITE_BLOCKED", "%s doesn't take invitations", userID)
	}
	return err
}

// BlocksInvites reports whether the content of an m.invite_permission_config says that its
// user wants no invitations.
func BlocksInvites(content []byte) bool {
	return gjson.GetBytes(content, "default_action").Str == "block"
}
