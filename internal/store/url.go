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

// These settings keep a failover short. TestFailoverLosesNothingConfirmed kills masters with them.
const (
	poolSize = 64
	// dialTimeout limits one attempt to connect: a host that is down does not even refuse. The address is looked up again
	// for each attempt, so there is one attempt, not the client's five.
	dialTimeout = 2 * time.Second
	dialTries   = 1
	// With its default of a minute, go-redis v9.23.0 asks a dead master of a Cluster for most of that minute: a refused
	// connection does not make it read the slots again.
	slotsEvery = time.Second
	// The default of 3 gives up before another master is elected.
	redirects = 8
	// protocol is RESP2: nothing here needs RESP3, and checking for its push messages before each answer costs a worker a
	// fiftieth of its time.
	protocol = 2
)

// Open connects to the Redis at a URL, see redisurl, and fails if nothing answers before ctx ends.
//
// If a password function is given, it is called for each new connection and replaces the password of the URL: so a
// changed password needs no restart.
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

// newClient creates the client for a target. It does not use go-redis's own parsers for the URLs of Sentinels and
// Clusters: these compare the certificate of every server with the name of the first host, and they allow reads from
// replicas.
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
	// Servers older than 7.2 answer with an error to what this and DisableIdentity turn off, which distorts their counters.
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
