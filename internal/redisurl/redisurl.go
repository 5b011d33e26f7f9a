// Package redisurl reads the URL of a Redis:
//
//	redis://[user:password@]host[:port][/database]        one server
//	redis-sentinel://[user:password@]host[:port],.../name the master that the Sentinels call name
//	redis-cluster://[user:password@]host[:port],...       a Cluster, by some of its nodes
//
// With rediss in place of redis everything goes over TLS. In the query of the first may stand the options of
// go-redis's ParseURL, such as read_timeout, but for skip_verify. Sentinels have the password sentinel_password
// and the user sentinel_user of the query, and may be asked for a database by db. With transactions=script in
// the query transactions are Lua scripts: for a proxy that shares its connections to Redis among its clients,
// so that WATCH and MULTI do not work.
package redisurl

import (
	"cmp"
	"errors"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Target is the Redis that a URL names. Its Server is set for one server, its Master for Sentinels.
type Target struct {
	Server         *redis.Options
	Master         string
	Hosts          []string // host:port, without user and password
	User, Password string
	TLS            bool
	Scripted       bool // transactions are scripts

	SentinelUser, SentinelPassword string
	Database                       int // of Master
}

// Parse reads a URL. Its errors quote nothing of it that may be a password.
func Parse(address string) (Target, error) {
	a, err := split(address)
	if err != nil {
		return Target{}, err
	}
	q, err := url.ParseQuery(a.url.RawQuery)
	if err != nil {
		return Target{}, errors.New("has a query that cannot be read: percent-encode special characters in its values")
	}
	t := Target{User: a.url.User.Username()}
	t.Password, _ = a.url.User.Password()
	how := cmp.Or(q.Get("transactions"), "watch")
	if t.Scripted = how == "script"; !t.Scripted && how != "watch" {
		return Target{}, errors.New("has a query in which transactions is neither watch nor script")
	}
	q.Del("transactions")
	kind, secure := strings.CutPrefix(a.url.Scheme, "rediss")
	if t.TLS = secure; secure {
		kind = "redis" + kind
	}
	switch {
	case kind == "redis" && len(a.hosts) == 1:
		t.Hosts = withPort(a.hosts, "6379")
		t.Server, err = server(*a.url, q)
	case kind == "redis":
		err = errors.New("names several hosts: begin it with redis-sentinel:// or redis-cluster://")
	case kind == "redis-sentinel":
		t.Hosts = withPort(a.hosts, "26379")
		err = t.sentinel(a.url.Path, q)
	case kind == "redis-cluster":
		t.Hosts = withPort(a.hosts, "6379")
		if strings.Trim(a.url.Path, "/") != "" || len(q) > 0 {
			err = errors.New("names a Cluster, which has no path, because it has one database, and no option but transactions")
		}
	default:
		err = errors.New("must be like redis://host:6379, redis-sentinel://user:password@host:26379,host:26379/name or redis-cluster://host:6379,host:6379 (rediss for TLS)")
	}
	if err != nil {
		return Target{}, err
	}
	return t, nil
}

// WithPassword returns a URL with another password. The URL must be one that Parse accepts.
func WithPassword(address, password string) string {
	a, err := split(address)
	if err != nil {
		return address
	}
	user := url.UserPassword(a.url.User.Username(), password)
	return a.url.Scheme + "://" + user.String() + "@" + strings.Join(a.hosts, ",") + a.rest
}

// server reads the URL of one server.
func server(u url.URL, q url.Values) (*redis.Options, error) {
	if q.Has("skip_verify") {
		return nil, errors.New("has the option skip_verify, which is not allowed: set SSL_CERT_FILE in the environment to trust your own certificate authority")
	}
	if !regexp.MustCompile(`^/?[0-9]{0,5}/?$`).MatchString(u.Path) {
		return nil, errors.New("has a path that is not the number of a database")
	}
	parse := func(q url.Values) (*redis.Options, error) {
		u.RawQuery = q.Encode()
		return redis.ParseURL(u.String()) // its errors quote the URL
	}
	if o, err := parse(q); err == nil {
		return o, nil
	}
	for _, name := range slices.Sorted(maps.Keys(q)) {
		if _, err := parse(url.Values{name: q[name]}); err != nil && regexp.MustCompile(`^[a-z_]+$`).MatchString(name) {
			return nil, errors.New("has an option that does not exist or whose value is not valid: " + name)
		}
	}
	return nil, errors.New("has an option that does not exist or whose value is not valid")
}

// sentinel reads the path and the query of the URL of Sentinels.
func (t *Target) sentinel(path string, q url.Values) (err error) {
	t.Master = strings.Trim(path, "/")
	if t.Master == "" || strings.Contains(t.Master, "/") {
		return errors.New("names no master: end it in / and the name by which the Sentinels know the master")
	}
	t.SentinelUser, t.SentinelPassword = q.Get("sentinel_user"), q.Get("sentinel_password")
	t.Database, err = strconv.Atoi(cmp.Or(q.Get("db"), "0"))
	for name := range q {
		if err != nil || !slices.Contains([]string{"db", "sentinel_user", "sentinel_password"}, name) {
			return errors.New("may have only the options db (a number), sentinel_user, sentinel_password and transactions")
		}
	}
	return nil
}

// address is a URL with its hosts apart.
type address struct {
	url   *url.URL // with the first host
	hosts []string
	rest  string // what follows the hosts
}

// split divides a URL that may have several hosts, which net/url does not know.
func split(s string) (address, error) {
	scheme, after, found := strings.Cut(s, "://")
	end := strings.IndexAny(after, "/?#")
	if end < 0 {
		end = len(after)
	}
	authority, rest := after[:end], after[end:]
	at := strings.LastIndex(authority, "@") + 1
	hosts := strings.Split(authority[at:], ",")
	u, err := url.Parse(scheme + "://" + authority[:at] + hosts[0] + rest)
	if err != nil || !found || strings.Contains(rest, "@") {
		// What url.Parse says quotes the password, and an @ so late may belong to one.
		return address{}, errors.New("is not a URL: percent-encode special characters in its password")
	}
	for _, h := range hosts {
		if one, err := url.Parse("//" + h); err != nil || one.Hostname() == "" {
			return address{}, errors.New("has a host that is not host or host:port")
		}
	}
	return address{u, hosts, rest}, nil
}

// withPort adds the usual port where none is given.
func withPort(hosts []string, port string) []string {
	all := make([]string, len(hosts))
	for i, h := range hosts {
		one := url.URL{Host: h}
		all[i] = net.JoinHostPort(one.Hostname(), cmp.Or(one.Port(), port))
	}
	return all
}
