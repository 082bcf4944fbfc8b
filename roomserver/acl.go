package roomserver

import (
	"context"
	"net/netip"
	"regexp"
	"strings"

	"github.com/tidwall/gjson"
)

// serverACL says which servers may take part in a room.
type serverACL struct {
	allow, deny *regexp.Regexp // nil matches nothing
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
		allow: globs(content.Get("allow")), deny: globs(content.Get("deny")),
		literals: literals.Type != gjson.False,
	}
}

// globs makes one expression of a list of patterns in which * stands for any text
// and ? for any character.
func globs(list gjson.Result) *regexp.Regexp {
	var all []string
	for _, g := range list.Array() {
		if g.Type == gjson.String {
			all = append(all, strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(g.Str)))
		}
	}
	if len(all) == 0 || !list.IsArray() {
		return nil
	}
	// An event is small enough for any list that fits into it to compile.
	r, err := regexp.Compile(`(?is)^(?:` + strings.Join(all, "|") + `)$`)
	if err != nil {
		return nil
	}
	return r
}

func (a *serverACL) allows(server string) bool {
	host := hostOf(server)
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil && !a.literals {
		return false
	}
	if a.deny != nil && a.deny.MatchString(host) {
		return false
	}
	return a.allow != nil && a.allow.MatchString(host)
}

// hostOf is a server name without its port.
func hostOf(server string) string {
	if i := strings.LastIndexByte(server, ':'); i >= 0 && !strings.HasSuffix(server, "]") {
		return server[:i]
	}
	return server
}
