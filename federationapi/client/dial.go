package client

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"hearth/internal/publicaddr"
)

// dialer connects only to where it may. The check is on the address that is really
// connected to: a name that was harmless when it was looked up may be another now.
func (c *Client) dialer() *net.Dialer {
	d := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Resolver: c.o.Resolver}
	if !c.o.AllowPrivateRanges {
		d.Control = refusePrivate
	}
	return d
}

// PrivateAddressError is the result of finding a server at an address inside the
// network.
type PrivateAddressError struct{ Address string }

func (e *PrivateAddressError) Error() string {
	return fmt.Sprintf("%s is not an address of the public internet, and federation.allow_private_ranges is off", e.Address)
}

func refusePrivate(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !publicaddr.Is(ap.Addr()) {
		return &PrivateAddressError{address}
	}
	return nil
}

// MatchesAny reports whether the server is one of the list, by its name with or
// without port; *.example.org stands for all below a name.
func MatchesAny(list []string, server string) bool {
	server = strings.ToLower(server)
	host, _, _ := SplitServerName(server)
	for _, entry := range list {
		entry = strings.ToLower(entry)
		if below, ok := strings.CutPrefix(entry, "*."); ok {
			if strings.HasSuffix(host, "."+below) {
				return true
			}
			continue
		}
		if entry == server || entry == host {
			return true
		}
	}
	return false
}

// SplitServerName splits a server name into its host, IPv6 addresses without their
// brackets, and its port, "" for none. ok is false for what is no server name.
//
// https://spec.matrix.org/v1.19/appendices/#server-name
func SplitServerName(name string) (host, port string, ok bool) {
	if len(name) == 0 || len(name) > 255 {
		return "", "", false
	}
	host = name
	if rest, bracket := strings.CutPrefix(name, "["); bracket {
		inside, after, closed := strings.Cut(rest, "]")
		addr, err := netip.ParseAddr(inside)
		if !closed || err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", "", false
		}
		if after == "" {
			return inside, "", true
		}
		port, ok = strings.CutPrefix(after, ":")
		return inside, port, ok && isPort(port)
	}
	if before, after, colon := strings.Cut(name, ":"); colon {
		if !isPort(after) {
			return "", "", false
		}
		host, port = before, after
	}
	for i := 0; i < len(host); i++ {
		c := host[i] | 0x20
		if (c < 'a' || c > 'z') && (host[i] < '0' || host[i] > '9') && host[i] != '-' && host[i] != '.' {
			return "", "", false
		}
	}
	return host, port, host != ""
}

func isPort(s string) bool {
	n := 0
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		n = n*10 + int(s[i]-'0')
	}
	return len(s) >= 1 && len(s) <= 5 && n > 0 && n <= 65535
}
