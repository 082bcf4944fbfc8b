// Package publicaddr tells addresses of the public internet from those of networks that
// this server can reach and others can't.
package publicaddr

import (
	"fmt"
	"net/netip"
	"syscall"
)

// Error is the result of connecting to an address inside the network.
type Error struct{ Address string }

func (e *Error) Error() string {
	return fmt.Sprintf("%s is not an address of the public internet", e.Address)
}

// Control refuses connections to addresses that aren't public. It fits net.Dialer: the
// check is on the address that is really connected to, since a name that was harmless
// when it was looked up may be another now.
func Control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil || !Is(ap.Addr()) {
		return &Error{address}
	}
	return nil
}

// special are the ranges that aren't the public internet, beside those that
// net/netip knows.
var special = func() (list []netip.Prefix) {
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
		"240.0.0.0/4", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10",
	} {
		list = append(list, netip.MustParsePrefix(p))
	}
	return list
}()

var (
	nat64     = netip.MustParsePrefix("64:ff9b::/96")
	sixToFour = netip.MustParsePrefix("2002::/16")
)

// Is reports whether an address belongs to the public internet; of those that hold an
// IPv4 address, whether that does.
func Is(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return Is(netip.AddrFrom4([4]byte(b[12:])))
	case sixToFour.Contains(a):
		return Is(netip.AddrFrom4([4]byte(b[2:6])))
	case !a.IsGlobalUnicast() || a.IsPrivate():
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
