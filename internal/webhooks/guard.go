package webhooks

import (
	"errors"
	"net/netip"
	"syscall"
)

// errNotPublic means that a receiver's address is not one of the public Internet.
var errNotPublic = errors.New("the receiver's address is not a public one")

// refusePrivate is the Control of a net.Dialer. It gets the address that a socket is
// about to connect to, after the look-up of the name. So a name that leads elsewhere the
// second time (DNS rebinding) is judged by where it leads now.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil || !public(to.Addr()) {
		return errNotPublic
	}
	return nil
}

// special are the blocks that the IANA registries of special-purpose addresses take out
// of the public Internet (RFC 6890 and its updates), with multicast and the reserved
// block of IPv4.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
	"172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/23",     // protocol assignments, with Teredo
	"2001:db8::/32", // documentation
	"2002::/16",     // 6to4, which leads to the IPv4 address within
	"3fff::/20",     // documentation
	"5f00::/16",     // segment routing
)

var (
	// ipv6Internet is all that is given out of IPv6. Beyond it are loopback, link-local,
	// unique local, site-local and multicast addresses.
	ipv6Internet = netip.MustParsePrefix("2000::/3")
	// nat64 leads to the IPv4 address in its last four bytes (RFC 6052).
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

// public tells whether an address is one of the public Internet.
func public(a netip.Addr) bool {
	a = a.Unmap() // ::ffff:127.0.0.1 is 127.0.0.1
	if a.Zone() != "" {
		return false
	}
	if nat64.Contains(a) {
		all := a.As16()
		a = netip.AddrFrom4([4]byte(all[12:]))
	}
	if a.Is6() && !ipv6Internet.Contains(a) {
		return false
	}
	for _, block := range special {
		if block.Contains(a) {
			return false
		}
	}
	return a.IsValid()
}

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}
