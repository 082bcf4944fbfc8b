package roomserver

import (
	"context"
	"errors"
	"net/http"

	"github.com/tidwall/gjson"

	"hearth/internal/httpapi"
	"hearth/internal/userid"
	"hearth/storage"
)

// inviteConfig and inviteFilter are the account data that say whose invitations a user takes:
// the one that is specified, and lists as they are proposed beside it.
//
// https://spec.matrix.org/v1.19/client-server-api/#invite-permission
// https://github.com/matrix-org/matrix-spec-proposals/pull/4155
const inviteConfig, inviteFilter = "m.invite_permission_config", "org.matrix.msc4155.invite_permission_config"

// InviteVerdict is what becomes of an invitation.
type InviteVerdict int

const (
	// InviteTaken is for one that the user is shown.
	InviteTaken InviteVerdict = iota
	// InviteIgnored is for one that its sender thinks was taken, and the user never sees.
	InviteIgnored
	// InviteBlocked is for one that is refused.
	InviteBlocked
)

// InviteRules say whose invitations a user takes. The zero value takes everybody's.
type InviteRules struct{ config, filter inviteRules }

type inviteRules struct {
	users, servers [3]globList // by verdict
	blocks         bool        // those that no list names
}

// IsInviteRules reports whether account data of a type is part of a user's InviteRules.
func IsInviteRules(dataType string) bool { return dataType == inviteConfig || dataType == inviteFilter }

// With returns the rules with one of their parts as its account data says. What isn't valid
// says nothing.
func (r InviteRules) With(dataType string, content []byte) InviteRules {
	part := &r.config
	if dataType == inviteFilter {
		part = &r.filter
	}
	*part = parseInviteRules(gjson.ParseBytes(content))
	return r
}

// Bytes is about what the rules take in memory.
func (r *InviteRules) Bytes() (n int64) {
	for _, part := range []*inviteRules{&r.config, &r.filter} {
		for v := range part.users {
			n += part.users[v].bytes() + part.servers[v].bytes()
		}
	}
	return n
}

func parseInviteRules(content gjson.Result) (r inviteRules) {
	if content.Get("enabled").Type == gjson.False {
		return r
	}
	valid := true
	for v, name := range map[InviteVerdict]string{InviteTaken: "allowed", InviteIgnored: "ignored", InviteBlocked: "blocked"} {
		var users, servers bool
		r.users[v], users = parseGlobs(content.Get(name + "_users"))
		r.servers[v], servers = parseGlobs(content.Get(name + "_servers"))
		valid = valid && users && servers
	}
	if !valid {
		r = inviteRules{}
	}
	r.blocks = content.Get("default_action").Str == "block"
	return r
}

// Judge says what becomes of an invitation by a user.
func (r *InviteRules) Judge(sender string) InviteVerdict {
	for _, part := range []*inviteRules{&r.config, &r.filter} {
		for _, lists := range []struct {
			globs *[3]globList
			text  string
		}{{&part.users, sender}, {&part.servers, hostOf(userid.Domain(sender))}} {
			for v, list := range lists.globs {
				if list.matches(lists.text) {
					return InviteVerdict(v)
				}
			}
		}
		if part.blocks {
			return InviteBlocked
		}
	}
	return InviteTaken
}

// InviteRulesOf reads the rules of a user of this server.
func (s *Server) InviteRulesOf(ctx context.Context, userID string) (*InviteRules, error) {
	var r InviteRules
	for _, dataType := range []string{inviteConfig, inviteFilter} {
		content, err := s.db.GetAccountData(ctx, userID, "", dataType)
		if errors.Is(err, storage.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r = r.With(dataType, content)
	}
	return &r, nil
}

// TakesInvite returns M_INVITE_BLOCKED if a user of this server refuses the invitations of
// another.
func (s *Server) TakesInvite(ctx context.Context, userID, sender string) error {
	rules, err := s.InviteRulesOf(ctx, userID)
	if err == nil && rules.Judge(sender) == InviteBlocked {
		return httpapi.New(http.StatusForbidden, "M_INVITE_BLOCKED", "%s doesn't take this invitation", userID)
	}
	return err
}
