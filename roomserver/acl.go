package roomserver

import (
	"context"
	"net/netip"
	"strings"

	"github.com/tidwall/gjson"
)

// serverACL says which servers may take part in a room.
type serverACL struct {
	allow, deny globList
	literals    bool
}

// ServerAllowed reports whether the room's access control list lets the server take
// part.
//
// https://spec.matrix.org/v1.19/client-server-api/#server-access-control-lists-acls-for-rooms
func (s *Server) ServerAllowed(ctx context.Context, v *View, server string) (bool, error) {
	entry, ok := v.Entry("m.room.server_acl", "")
	if !ok {
		return true, nil
	}
	acl, ok := s.servers.acls.GetIfPresent(entry.EventNID)
	if !ok {
		e, err := s.event(ctx, entry.EventNID)
		if err != nil {
			return false, err
		}
		acl = newServerACL(gjson.GetBytes(e.JSON, "content"))
		s.servers.acls.Set(entry.EventNID, acl)
	}
	return acl.allows(server), nil
}

func newServerACL(content gjson.Result) *serverACL {
	literals := content.Get("allow_ip_literals")
	return &serverACL{
		allow: globsIn(content.Get("allow")), deny: globsIn(content.Get("deny")),
		literals: literals.Type != gjson.False,
	}
}

// globsIn are the patterns in a list that may have other things in it, none in what is no list.
func globsIn(list gjson.Result) (globs globList) {
	if !list.IsArray() {
		return nil
	}
	for _, g := range list.Array() {
		if g.Type == gjson.String {
			globs = globs.with(g.Str)
		}
	}
	return globs
}

func (a *serverACL) allows(server string) bool {
	host := hostOf(server)
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && !a.literals {
		return false
	}
	return !a.deny.matches(host) && a.allow.matches(host)
}

// hostOf is a server name without its port.
func hostOf(server string) string {
	if i := strings.LastIndexByte(server, ':'); i >= 0 && !strings.HasSuffix(server, "]") {
		return server[:i]
	}
	return server
}
