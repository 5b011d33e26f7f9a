package publicnet

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

// TestPublicAddresses: no host may lead into a private network, whatever the form of the address.
func TestPublicAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]bool{
		"1.1.1.1": true, "8.8.8.8": true, "157.240.1.1": true, "172.15.255.255": true, "172.32.0.1": true, "100.63.255.255": true, "100.128.0.1": true,
		"223.255.255.255": true, "2606:4700::1111": true, "2a03:2880::1": true, "::ffff:8.8.8.8": true,

		"127.0.0.1": false, "127.255.255.254": false, "0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false,
		"192.168.1.1": false, "169.254.169.254": false, "169.254.170.2": false, "100.64.0.1": false, "100.100.100.200": false, "100.127.255.255": false,
		"192.0.0.192": false, "192.0.2.1": false, "198.18.0.1": false, "198.51.100.1": false, "203.0.113.1": false, "224.0.0.1": false, "239.255.255.255": false,
		"240.0.0.1": false, "255.255.255.255": false,

		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:169.254.169.254": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "64:ff9b::7f00:1": false,
		"64:ff9b:1::1": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "fc00::1": false, "fd00:ec2::254": false, "ff02::1": false, "100::1": false,
		"2001::1": false, "2001:db8::1": false, "2002:7f00:1::": false, "3fff::1": false, "2606:4700::1111%eth0": false,
	} {
		if got := Public(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: public %v, want %v", address, got, want)
		}
	}
}

// TestDialing: the address that a name has at the moment of connecting counts, and a host that is allowed by name may have
// any.
func TestDialing(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for _, c := range []struct {
		allowed []string
		host    string
		want    error
	}{
		{nil, "127.0.0.1", ErrPrivate},
		{nil, "localhost", ErrPrivate},
		{nil, "0.0.0.0", ErrPrivate},
		{nil, "::ffff:127.0.0.1", ErrPrivate},
		{[]string{"crm.internal"}, "localhost", ErrPrivate},
		{[]string{"localhost"}, "127.0.0.1", ErrPrivate}, // by name
		{[]string{"localhost"}, "localhost", nil},
		{[]string{"localhost"}, "LOCALHOST", nil},
		{[]string{"127.0.0.1"}, "127.0.0.1", nil},
	} {
		conn, err := Dialer{Allowed: c.allowed}.DialContext(t.Context(), "tcp", net.JoinHostPort(c.host, port))
		if !errors.Is(err, c.want) {
			t.Errorf("%s, allowed %v: %v, want %v", c.host, c.allowed, err, c.want)
		}
		if conn != nil {
			conn.Close()
		}
	}
}
