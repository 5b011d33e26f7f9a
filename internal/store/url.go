package store

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"sluice/internal/redisurl"
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

// Open connects to the Redis at a URL, see redisurl, and fails when nothing answers within ctx.
//
// Password, if one is given, is called for each new connection, and its result stands for the password in
// the URL: so a password that changes needs no restart.
func Open(ctx context.Context, address string, password ...func() (string, error)) (*DB, error) {
	t, err := redisurl.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("the URL of Redis %w", err)
	}
	db, err := newDB(ctx, newClient(t, password...), t.Scripted)
	if err != nil {
		return nil, fmt.Errorf("redis at %s: %w", strings.Join(t.Hosts, ","), err)
	}
	return db, nil
}

// newClient makes the client for a target. Go-redis's own parsers of the URLs of Sentinels and Clusters are
// not used: they hold the certificate of every server against the name of the first host, and they let a URL
// send reads to replicas.
func newClient(t redisurl.Target, fresh ...func() (string, error)) redis.UniversalClient {
	var credentials func(context.Context) (string, string, error)
	for _, f := range fresh {
		credentials = func(context.Context) (string, string, error) {
			now, err := f()
			return t.User, now, err
		}
	}
	var secure *tls.Config // none
	if t.TLS {
		secure = &tls.Config{MinVersion: tls.VersionTLS12} // it verifies the host that it dials
	}
	// Servers older than 7.2 answer what it and DisableIdentity turn off with an error, which spoils their own counters.
	quiet := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	switch {
	case t.Server != nil:
		o := t.Server
		o.CredentialsProviderContext, o.TLSConfig = credentials, secure
		o.PoolSize, o.DialTimeout, o.DialerRetries = cmp.Or(o.PoolSize, poolSize), cmp.Or(o.DialTimeout, dialTimeout), dialTries
		o.Protocol, o.DisableIdentity, o.MaintNotificationsConfig = protocol, true, quiet
		return redis.NewClient(o)
	case t.Master != "":
		return redis.NewFailoverClient(&redis.FailoverOptions{
			MasterName: t.Master, SentinelAddrs: t.Hosts, SentinelUsername: t.SentinelUser, SentinelPassword: t.SentinelPassword,
			Username: t.User, Password: t.Password, CredentialsProviderContext: credentials, DB: t.Database, TLSConfig: secure,
			PoolSize: poolSize, DialTimeout: dialTimeout, DialerRetries: dialTries, DisableIdentity: true, Protocol: protocol,
		})
	}
	return redis.NewClusterClient(&redis.ClusterOptions{
		Addrs: t.Hosts, Username: t.User, Password: t.Password, CredentialsProviderContext: credentials, TLSConfig: secure,
		PoolSize: poolSize, DialTimeout: dialTimeout, DialerRetries: dialTries,
		ClusterStateReloadInterval: slotsEvery, MaxRedirects: redirects,
		DisableIdentity: true, Protocol: protocol, MaintNotificationsConfig: quiet,
	})
}
