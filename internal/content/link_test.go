package content_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sluice/internal/content"
)

func TestParseLink(t *testing.T) {
	t.Parallel()
	cases := map[string]string{ // what must be said of each link
		"": `
			https://example.com/a.png
			HTTPS://Example.COM./a?b=c#d
			https://xn--mnchen-3ya.example:8443/
			https://93.184.216.34/a
			https://[2606:4700::1111]/a
			https://10.example.com/a
			https://0x7f.example.com/a
			https://my_bucket.example.com/a
			http://example.com/a
			https://example.com:65535/`,
		"link_scheme": `
			ftp://example.com/a
			file:///etc/passwd
			gopher://example.com/
			//example.com/a
			example.com/a`,
		"link_userinfo": `
			https://a@b/
			https://user:word@example.com/
			https://example.com@10.0.0.1/`,
		"link_invalid": `
			https://
			https:///a
			https:example.com
			https://exa%6dple.com/
			https://localhost../
			https://.localhost/
			https://example..com/
			https://example.com\@10.0.0.1/
			https://１２７.0.0.1/
			https://127。0。0。1/
			https://münchen.example/
			https://[fe80::1%25eth0]/
			https://example.com:port/
			https://-a.example.com/
			https://a-.example.com/
			https://aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.example.com/`,
		"link_port_invalid": `
			https://example.com:0/
			https://example.com:65536/
			https://example.com:99999999999999999999/`,
		"link_host_forbidden": `
			https://localhost/
			https://LOCALHOST./
			https://a.localhost/
			https://redis:6379/
			https://printer.local/
			https://metadata.google.internal/
			https://nas.home.arpa/
			https://127.0.0.1/
			https://127.1/
			https://2130706433/
			https://0x7f.1/
			https://0x7F000001/
			https://0177.0.0.1/
			https://017700000001/
			https://10.0.0.1/
			https://10.0.0.1./
			https://172.16.0.1/
			https://172.31.255.255/
			https://192.168.1.1/
			https://169.254.169.254/latest/meta-data
			https://2852039166/
			https://100.64.0.1/
			https://0.0.0.0/
			https://0/
			https://198.18.0.1/
			https://224.0.0.1/
			https://255.255.255.255/
			https://256.256.256.256/
			https://1.2.3.4.5/
			https://08.1.1.1/
			https://[::1]/
			https://[::]/
			https://[::ffff:127.0.0.1]/
			https://[::ffff:a00:1]/
			https://[::127.0.0.1]/
			https://[64:ff9b::a00:1]/
			https://[2002:7f00:1::]/
			https://[2001::1]/
			https://[2001:db8::1]/
			https://[fe80::1]/
			https://[fc00::1]/
			https://[fd12:3456::1]/
			https://[fec0::1]/
			https://[ff02::1]/`,
	}
	for want, links := range cases {
		for link := range strings.FieldsSeq(links) {
			image, _ := json.Marshal(map[string]string{"link": link})
			_, problems := content.Parse(json.RawMessage(to + `"type":"image","image":` + string(image) + `}`))
			var got string
			if len(problems) > 0 {
				got = problems[0].Code
			}
			if got != want {
				t.Errorf("%s: got %q, want %q", link, got, want)
			}
		}
	}
}
