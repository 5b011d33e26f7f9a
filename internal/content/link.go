package content

import (
	"encoding/binary"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

const linkFix = "Give a public link that needs no login, to a file behind https:// or http://."

var (
	linkInvalid  = rule(Invalid, "link_invalid", "The link is not a valid URL.", linkFix)
	linkScheme   = rule(Invalid, "link_scheme", "A link must begin with https:// or http://.", linkFix)
	linkUserinfo = rule(Invalid, "link_userinfo", "A link must not carry a user name or password.", linkFix)
	linkPort     = rule(Invalid, "link_port_invalid", "A port is 1 to 65535.", "Correct the port, or leave it out.")
	linkLimit    = atMost(mostLink, "link", "link")
	linkHost     = rule(Invalid, "link_host_forbidden", "The link's host is not on the public internet.", linkFix)
)

// mostLink is the length above which web servers refuse a request for its first line alone.
const mostLink = 8192

// checkLink refuses links that Meta's servers cannot fetch or nobody should ask them to:
// a link into somebody's own network is a mistake or an attempt on it.
func (n node) checkLink() {
	s, ok := n.text()
	if !ok {
		return
	}
	link, err := url.Parse(s)
	switch {
	case len(s) > mostLink:
		n.within(linkLimit)
	case err != nil:
		n.refuseWord(linkInvalid, linkInvalid.Detail, linkInvalid.Fix)
	case link.Scheme != "https" && link.Scheme != "http": // Meta takes both; Meta, Cloud API, "Media messages"
		n.refuse(linkScheme)
	case link.User != nil:
		n.refuse(linkUserinfo)
	case !plainHost(link.Hostname()):
		n.refuseWord(linkInvalid, "The link's host must be a name or an address in ASCII.", "Write an international name in its xn-- form.")
	case !possibleHost(link.Hostname()):
		n.refuseAs(linkInvalid, "A host's name has at most 253 characters, and each part between its full stops 1 to 63 that do not begin or end with a hyphen.", linkInvalid.Fix)
	case !possiblePort(link):
		n.refuse(linkPort)
	case !publicHost(link.Hostname()):
		n.refuse(linkHost)
	}
}

var urlInvalid = rule(Invalid, "url_invalid", "A button's URL must begin with https:// or http:// and name a host.", "Give the whole URL.")

// checkURL holds for links that people open and Meta does not.
func (n node) checkURL() {
	s, ok := n.text()
	if !ok {
		return
	}
	link, err := url.Parse(s)
	switch {
	case len(s) > mostLink:
		n.within(linkLimit)
	case err != nil || link.Scheme != "https" && link.Scheme != "http" || !possibleHost(link.Hostname()):
		n.refuseWord(urlInvalid, urlInvalid.Detail, urlInvalid.Fix)
	case !possiblePort(link):
		n.refuse(linkPort)
	}
}

// possiblePort reports whether a link's port can be one; it may have none.
func possiblePort(link *url.URL) bool {
	port, err := strconv.ParseUint(link.Port(), 10, 16)
	return link.Port() == "" || err == nil && port > 0
}

// possibleHost reports whether the domain name system can hold a name (RFC 1035); what people write
// in other scripts is longer there, and is not counted.
func possibleHost(host string) bool {
	host = strings.TrimSuffix(host, ".")
	if strings.Contains(host, ":") { // an IPv6 address
		return true
	}
	for part := range strings.SplitSeq(host, ".") {
		if part == "" || len(part) > 63 || part[0] == '-' || part[len(part)-1] == '-' {
			return false
		}
	}
	return len(host) <= 253
}

// plainHost keeps out what browsers and resolvers read in different ways, full-width
// digits and empty parts for example.
func plainHost(host string) bool {
	for _, r := range host {
		letter := r|0x20 >= 'a' && r|0x20 <= 'z'
		digit := r >= '0' && r <= '9'
		if !letter && !digit && !strings.ContainsRune(".-_:", r) {
			return false
		}
	}
	return host != "" && host[0] != '.' && !strings.Contains(host, "..")
}

// privateNames are the ends of names that no public resolver knows.
var privateNames = []string{".localhost", ".local", ".localdomain", ".internal", ".lan", ".home.arpa"}

// publicHost reports whether a host may be on the public internet. It resolves nothing: Meta
// fetches the link, not we.
func publicHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if strings.Contains(host, ":") {
		addr, err := netip.ParseAddr(host)
		return err == nil && publicAddr(addr)
	}
	if looksNumeric(host) {
		addr, ok := parseIPv4(host)
		return ok && publicAddr(addr)
	}
	for _, end := range privateNames {
		if strings.HasSuffix(host, end) {
			return false
		}
	}
	return strings.Contains(host, ".")
}

// looksNumeric reports whether resolvers take host for an IPv4 address: its last part is a
// number (WHATWG URL, "ends in a number").
func looksNumeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	hex, ok := strings.CutPrefix(last, "0x")
	return ok && strings.Trim(hex, "0123456789abcdef") == ""
}

// parseIPv4 reads every spelling inet_aton does: 127.1, 0x7f.0.0.1, 0177.1, 2130706433.
func parseIPv4(host string) (netip.Addr, bool) {
	parts := strings.Split(host, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var addr uint64
	for i, part := range parts {
		base := 10
		if hex, ok := strings.CutPrefix(part, "0x"); ok {
			base, part = 16, hex
		} else if len(part) > 1 && part[0] == '0' {
			base = 8
		}
		bits := 8
		if i == len(parts)-1 { // the last part fills what is left
			bits = 8 * (5 - len(parts))
		}
		value, err := strconv.ParseUint(part, base, bits)
		if err != nil {
			return netip.Addr{}, false
		}
		addr = addr<<bits | value
	}
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, uint32(addr)))), true
}

// Addresses nobody can reach from outside (IANA's special-purpose address registries).
// Of IPv6 only 2000::/3 is handed out, so these are the exceptions in it.
var (
	reservedIPv4 = prefixes("0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 " +
		"192.0.0.0/24 192.0.2.0/24 192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3")
	globalIPv6   = netip.MustParsePrefix("2000::/3")
	reservedIPv6 = prefixes("2001::/23 2001:db8::/32 2002::/16 3fff::/20")
)

func prefixes(list string) []netip.Prefix {
	var all []netip.Prefix
	for s := range strings.FieldsSeq(list) {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func publicAddr(addr netip.Addr) bool {
	reserved := reservedIPv4
	if addr.Is6() {
		if !globalIPv6.Contains(addr) {
			return false
		}
		reserved = reservedIPv6
	}
	for _, p := range reserved {
		if p.Contains(addr) {
			return false
		}
	}
	return true
}
