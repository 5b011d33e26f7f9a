package store

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// What makes a failover short. TestFailoverLosesNothingConfirmed kills masters under these.
const (
	poolSize = 64
	// dialTimeout bounds one try to connect: a host that is gone does not even refuse. Where
	// to connect next is asked anew for each try, so there is one try, not the client's five.
	dialTimeout = 2 * time.Second
	dialTries   = 1
	// With its default of a minute go-redis v9.23.0 asks a dead master of a Cluster for the
	// better part of that minute: a refused connection does not make it read the slots again.
	slotsEvery = time.Second
	// Its default of 3 gives up before another master has been elected.
	redirects = 8
	// protocol is RESP2: nothing here uses what RESP3 adds, and looking for its push messages before
	// each answer costs a worker a fiftieth of its time.
	protocol = 2
)

// Open connects to the Redis at a URL and fails when nothing answers within ctx:
//
//	redis://[user:password@]host[:port][/database]       one server
//	redis-sentinel://[user:password@]host:port,.../name  the master that the sentinels call name
//	redis-cluster://[user:password@]host:port,...        a Cluster, by some of its nodes
//
// With rediss in front instead of redis everything goes over TLS. Sentinels have the password
// sentinel_password, and the user sentinel_user, of the query, if any; and may be asked for a
// database by db. With transactions=script in the query transactions are Lua scripts: for a proxy that
// shares its connections to Redis among its clients, so that WATCH and MULTI do not work.
//
// Password, if one is given, is called for each new connection, and its result stands for the password in
// the URL: so a password that changes needs no restart.
func Open(ctx context.Context, address string, password ...func() (string, error)) (*DB, error) {
	c, scripted, err := newClient(address, password...)
	if err != nil {
		return nil, fmt.Errorf("redis url: %w", err)
	}
	db, err := newDB(ctx, c, scripted)
	if err != nil {
		return nil, fmt.Errorf("redis at %s: %w", hostsOf(address), err)
	}
	return db, nil
}

// transactions is the member of the query that says how transactions are made.
const transactions = "transactions"

// newClient makes the client that a URL asks for. Its errors quote nothing that may be secret.
func newClient(address string, fresh ...func() (string, error)) (c redis.UniversalClient, scripted bool, err error) {
	u, hosts, err := split(address)
	if err != nil {
		return nil, false, err
	}
	user := u.User.Username()
	password, _ := u.User.Password()
	var credentials func(context.Context) (string, string, error)
	for _, f := range fresh {
		credentials = func(context.Context) (string, string, error) {
			now, err := f()
			return user, now, err
		}
	}
	var secure *tls.Config // none
	scheme := u.Scheme
	if rest, is := strings.CutPrefix(scheme, "rediss"); is {
		scheme, secure = "redis"+rest, &tls.Config{MinVersion: tls.VersionTLS12} // it verifies the host that it dials
	}
	q := u.Query()
	how := cmp.Or(q.Get(transactions), "watch")
	if scripted = how == "script"; !scripted && how != "watch" {
		return nil, false, errors.New("transactions in its query is neither watch nor script")
	}
	q.Del(transactions)
	switch {
	case scheme == "redis" && len(hosts) == 1:
		u.RawQuery = q.Encode()
		c, err := single(u, credentials)
		return c, scripted, err
	case scheme == "redis-sentinel":
		name := strings.Trim(u.Path, "/")
		if name == "" || strings.Contains(name, "/") {
			return nil, false, errors.New("it names no master: end it in /<the name by which the sentinels know it>")
		}
		database, err := strconv.Atoi(cmp.Or(q.Get("db"), "0"))
		if err != nil || !only(q, "db", "sentinel_user", "sentinel_password") {
			return nil, false, errors.New("its query may have db (a number), sentinel_user, sentinel_password and transactions")
		}
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: name, SentinelAddrs: withPort(hosts, "26379"), SentinelUsername: q.Get("sentinel_user"), SentinelPassword: q.Get("sentinel_password"),
			Username: user, Password: password, CredentialsProviderContext: credentials, DB: database, TLSConfig: secure,
			PoolSize: poolSize, DialTimeout: dialTimeout, DialerRetries: dialTries, DisableIdentity: true, Protocol: protocol,
		}), scripted, nil
	case scheme == "redis-cluster":
		if strings.Trim(u.Path, "/") != "" || !only(q) {
			return nil, false, errors.New("the one of a cluster has no path, because there is one database, and in its query transactions at most")
		}
		return redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: withPort(hosts, "6379"), Username: user, Password: password, CredentialsProviderContext: credentials, TLSConfig: secure,
			PoolSize: poolSize, DialTimeout: dialTimeout, DialerRetries: dialTries,
			ClusterStateReloadInterval: slotsEvery, MaxRedirects: redirects,
			DisableIdentity: true, Protocol: protocol, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		}), scripted, nil
	}
	return nil, false, errors.New("it begins with none of redis://host, redis-sentinel://host,host,host/name and redis-cluster://host,host (rediss for TLS)")
}

// single makes the client of one server. Its URL may have the options of go-redis in its query.
func single(u *url.URL, credentials func(context.Context) (string, string, error)) (redis.UniversalClient, error) {
	o, err := redis.ParseURL(u.String())
	if err != nil {
		return nil, err
	}
	// Servers older than 7.2 answer these two with an error, which spoils their own counters.
	o.DisableIdentity, o.CredentialsProviderContext = true, credentials
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.PoolSize = cmp.Or(o.PoolSize, poolSize)
	o.Protocol = protocol
	o.DialTimeout, o.DialerRetries = dialTimeout, dialTries
	return redis.NewClient(o), nil
}

// split reads a URL that may have several hosts, which net/url does not know.
func split(address string) (*url.URL, []string, error) {
	before, after, found := strings.Cut(address, "://")
	end := strings.IndexAny(after, "/?#")
	if end < 0 {
		end = len(after)
	}
	authority, rest := after[:end], after[end:]
	at := strings.LastIndex(authority, "@") + 1
	hosts := strings.Split(authority[at:], ",")
	u, err := url.Parse(before + "://" + authority[:at] + hosts[0] + rest)
	if err != nil || !found {
		// What url.Parse says quotes the password.
		return nil, nil, errors.New("it is no URL; percent-encode what is special in its password")
	}
	for _, h := range hosts {
		if one, err := url.Parse("//" + h); err != nil || one.Hostname() == "" {
			return nil, nil, errors.New("one of its hosts is no host:port")
		}
	}
	return u, hosts, nil
}

// hostsOf is what may be told of a URL.
func hostsOf(address string) string {
	_, hosts, _ := split(address)
	return strings.Join(hosts, ",")
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

// only tells whether a query has these members and no others.
func only(q url.Values, known ...string) bool {
	for k := range q {
		if !slices.Contains(known, k) {
			return false
		}
	}
	return true
}
