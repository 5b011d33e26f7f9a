// Package publicnet connects to addresses of the public internet only, so that a URL of a caller cannot lead into the network of the
// programs.
package publicnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ErrPrivate means that a host has an address that is not on the public internet.
var ErrPrivate = errors.New("the host has a private address")

// DialTimeout bounds connecting to one address.
const DialTimeout = 5 * time.Second

// Dialer connects to public addresses only, except for hosts that are allowed by name. It checks the address that it
// connects to, so a name that changes its address in between gains nothing.
type Dialer struct {
	Allowed []string // lower-case names of hosts that may have any address
}

// Allows reports whether a host may have any address, and may be called without TLS.
func (d Dialer) Allows(host string) bool {
	return slices.Contains(d.Allowed, strings.ToLower(strings.TrimSuffix(host, ".")))
}

// DialContext connects to a host and port. It returns ErrPrivate if the host has a private address. It blocks for up to DialTimeout for each address.
func (d Dialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: DialTimeout}
	if !d.Allows(host) {
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			if at, err := netip.ParseAddrPort(address); err != nil || !Public(at.Addr()) {
				return ErrPrivate
			}
			return nil
		}
	}
	return dialer.DialContext(ctx, network, addr)
}

// closed4 are the IPv4 addresses that are not on the public internet: https://www.iana.org/assignments/iana-ipv4-special-registry
var closed4 = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
	"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
)

// open6 are the IPv6 addresses of the public internet, without closed6: the IETF's protocols with Teredo, examples, and 6to4
// and its like, which lead to an IPv4 address.
var (
	open6   = netip.MustParsePrefix("2000::/3")
	closed6 = prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)

func prefixes(all ...string) (out []netip.Prefix) {
	for _, one := range all {
		out = append(out, netip.MustParsePrefix(one))
	}
	return out
}

// Public reports whether an address is on the public internet.
func Public(a netip.Addr) bool {
	in := func(p netip.Prefix) bool { return p.Contains(a) }
	if a = a.Unmap(); a.Is4() {
		return !slices.ContainsFunc(closed4, in)
	}
	return a.Is6() && a.Zone() == "" && open6.Contains(a) && !slices.ContainsFunc(closed6, in)
}
