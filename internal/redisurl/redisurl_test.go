package redisurl_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"sluice/internal/redisurl"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url  string
		want redisurl.Target // without its Server
		at   string          // Server's address, database and read timeout
	}{
		{"redis://h", redisurl.Target{Hosts: []string{"h:6379"}}, "h:6379 0 0s"},
		{"redis://u:p%40@h:1/2?read_timeout=3s", redisurl.Target{User: "u", Password: "p@", Hosts: []string{"h:1"}}, "h:1 2 3s"},
		{"rediss://[::1]:7/?transactions=script", redisurl.Target{TLS: true, Scripted: true, Hosts: []string{"[::1]:7"}}, "[::1]:7 0 0s"},
		{
			"redis-sentinel://u:p@a,b:1,[::1]/main?db=3&sentinel_user=s&sentinel_password=t%20u",
			redisurl.Target{User: "u", Password: "p", Master: "main", Database: 3, SentinelUser: "s", SentinelPassword: "t u", Hosts: []string{"a:26379", "b:1", "[::1]:26379"}},
			"",
		},
		{"rediss-sentinel://a/main", redisurl.Target{Master: "main", TLS: true, Hosts: []string{"a:26379"}}, ""},
		{"redis-cluster://:p@a:1,b/?transactions=watch", redisurl.Target{Password: "p", Hosts: []string{"a:1", "b:6379"}}, ""},
		{"rediss-cluster://a", redisurl.Target{TLS: true, Hosts: []string{"a:6379"}}, ""},
	} {
		got, err := redisurl.Parse(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		at := ""
		if s := got.Server; s != nil {
			at = fmt.Sprint(s.Addr, " ", s.DB, " ", s.ReadTimeout)
			if s.Username != got.User || s.Password != got.Password || (s.TLSConfig != nil) != got.TLS {
				t.Errorf("%s: user, password or TLS of the server differ", c.url)
			}
		}
		if at != c.at {
			t.Errorf("%s: server %q, want %q", c.url, at, c.at)
		}
		got.Server = nil
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: got %+v, want %+v", c.url, got, c.want)
		}
	}
}

// TestMistakes: what is wrong is said, and no part of a password, in whatever part of the URL it ends up
// because somebody did not percent-encode it.
func TestMistakes(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for url, want := range map[string]string{
		"":                                     "is not a URL",
		"h:6379":                               "is not a URL",
		"http://h":                             "must be like",
		"redis://":                             "has a host that is not",
		"redis://:" + secret + "@":             "has a host that is not",
		"redis://:" + secret + "@h:port":       "is not a URL",
		"redis://:" + secret + "%zz@h":         "is not a URL",
		"redis://:" + secret + "@[bad":         "is not a URL",
		"redis://:1/" + secret + "@h":          "is not a URL",
		"redis://u:1/" + secret + "@h":         "is not a URL",
		"redis://u:1?" + secret + "@h":         "is not a URL",
		"redis://u:1#" + secret + "@h":         "is not a URL",
		"redis://:" + secret + "@h,:1":         "has a host that is not",
		"redis://h/" + secret:                  "has a path that is not the number of a database",
		"redis://h/0/" + secret:                "has a path that is not the number of a database",
		"redis://h,i":                          "names several hosts: begin it with redis-sentinel://",
		"redis://h?pool_size=" + secret:        "has an option that does not exist or whose value is not valid: pool_size",
		"redis://h?pool=1&read_timeout=1s":     "has an option that does not exist or whose value is not valid: pool",
		"redis://h?" + secret:                  "has an option that does not exist or whose value is not valid",
		"redis://h?a=%zz":                      "has a query that cannot be read",
		"rediss://h?skip_verify=true":          "has the option skip_verify, which is not allowed: set SSL_CERT_FILE",
		"redis://h?transactions=" + secret:     "has a query in which transactions is neither watch nor script",
		"redis-sentinel://h":                   "names no master",
		"redis-sentinel://h/a/" + secret:       "names no master",
		"redis-sentinel://h/a?db=" + secret:    "may have only the options db (a number)",
		"redis-sentinel://h/a?read_timeout=1s": "may have only the options db (a number)",
		"redis-cluster://h/1":                  "names a Cluster, which has no path",
		"redis-cluster://h?read_only=true":     "names a Cluster, which has no path",
	} {
		_, err := redisurl.Parse(url)
		switch {
		case err == nil:
			t.Errorf("%s: no error", url)
		case !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret):
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
}

func TestWithPassword(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"redis://h":                              "redis://:p%40ss%2Fword@h",
		"rediss://u:old@h:1/2?a=b":               "rediss://u:p%40ss%2Fword@h:1/2?a=b",
		"redis-sentinel://u%40@a,[::1]:2/m?db=1": "redis-sentinel://u%40:p%40ss%2Fword@a,[::1]:2/m?db=1",
		"redis-cluster://:old@a,b":               "redis-cluster://:p%40ss%2Fword@a,b",
	} {
		if got := redisurl.WithPassword(url, "p@ss/word"); got != want {
			t.Errorf("%s: %s, want %s", url, got, want)
		}
	}
}
