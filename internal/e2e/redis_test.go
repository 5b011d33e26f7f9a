package e2e

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// kind is a kind of Redis. All programs use the users that docs/operations.md shows, so that a missing permission fails
// a test. Sentinel and Cluster are reached by TLS only.
type kind string

const (
	single   kind = "single"
	sentinel kind = "sentinel"
	cluster  kind = "cluster"
)

// asSuite is the environment variable with the kind of Redis of the whole suite; without it the suite runs on a single
// Redis, and the tests of onEach run on each kind.
const asSuite = "SLUICE_E2E_REDIS"

func suite() kind {
	if on := kind(os.Getenv(asSuite)); on != "" {
		return on
	}
	return single
}

// onEach runs a test on each kind of Redis.
func onEach(t *testing.T, test func(t *testing.T, on kind)) {
	kinds := []kind{single, sentinel, cluster}
	if os.Getenv(asSuite) != "" {
		kinds = []kind{suite()}
	}
	for _, on := range kinds {
		t.Run(string(on), func(t *testing.T) {
			t.Parallel()
			test(t, on)
		})
	}
}

// realRedis is a Redis of a test.
type realRedis struct {
	url        string // with the user of the programs
	durability string
	admin      redis.UniversalClient // may do everything
	server     *redistest.Server     // nil unless it is single
	retry      time.Duration         // for which a caller repeats a request: on a busy machine a replica confirms too late
}

func (k kind) start(t *testing.T) realRedis {
	t.Helper()
	users := access(t)
	switch k {
	case sentinel:
		s := redistest.StartSecureSentinel(t, 1, users)
		return realRedis{s.SecureURL("sluice"), string(store.Replica), s.Master().Client(), nil, time.Minute}
	case cluster:
		c := redistest.StartSecureCluster(t, users)
		return realRedis{c.SecureURL("sluice"), string(store.Replica), c.Client(), nil, time.Minute}
	case single:
		_, rule, _ := strings.Cut(users.Servers, "user sluice ")
		rule, _, _ = strings.Cut(rule, "\n")
		s := redistest.Start(t, append([]string{"--user", "sluice"}, strings.Fields(rule)...)...)
		return realRedis{"redis://sluice:" + redistest.Password + "@" + s.Addr, string(store.Fsync), s.Client(), s, 0}
	}
	t.Fatalf("%s is no kind of Redis", k)
	return realRedis{}
}

func access(t *testing.T) redistest.Access {
	t.Helper()
	return redistest.Access{Servers: users(t, "redis-users.acl"), Sentinels: users(t, "sentinel-users.acl")}
}

// users returns the lines of an ACL file as docs/operations.md shows it.
func users(t *testing.T, file string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, lines, found := strings.Cut(string(page), "`"+file+"`:\n\n```\n")
	lines, _, _ = strings.Cut(lines, "```")
	if !found {
		t.Fatalf("docs/operations.md does not show %s", file)
	}
	return strings.ReplaceAll(lines, "PASSWORD", redistest.Password)
}

// eachMaster calls f with each master.
func (r realRedis) eachMaster(t *testing.T, f func(c redis.UniversalClient) error) {
	t.Helper()
	var mu sync.Mutex // ForEachMaster calls its function concurrently
	err := error(nil)
	if c, ok := r.admin.(*redis.ClusterClient); ok {
		err = c.ForEachMaster(t.Context(), func(_ context.Context, c *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			return f(c)
		})
	} else {
		err = f(r.admin)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// keys returns the keys of all masters that match.
func (r realRedis) keys(t *testing.T, pattern string) (all []string) {
	t.Helper()
	r.eachMaster(t, func(c redis.UniversalClient) error {
		keys, err := c.Keys(t.Context(), pattern).Result()
		all = append(all, keys...)
		return err
	})
	return all
}

// TestUserOfRedis: the user of the programs can do nothing that Sluice does not need.
func TestUserOfRedis(t *testing.T) {
	t.Parallel()
	db, err := store.Open(t.Context(), single.start(t).url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, command := range []string{
		"flushall", "flushdb", "keys *", "config set appendonly no", "shutdown", "acl list", "acl setuser other on",
		"replicaof no one", "monitor", "client kill id 1", "get other", "set other 1", "publish other 1", "module list", "save", "swapdb 0 1", "cluster reset", "migrate a 1 k 0 1", "restore sluice:x 0 x",
	} {
		var words []any
		for _, w := range strings.Fields(command) {
			words = append(words, w)
		}
		if err := db.Do(t.Context(), words...).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%s: %v, want NOPERM", command, err)
		}
	}
}

// TestUsersAtAFailover: the rights of the users are enough for a failover. Then a replica is the master, the former master
// follows it, and the programs can write.
func TestUsersAtAFailover(t *testing.T) {
	t.Parallel()
	s := redistest.StartSecureSentinel(t, 1, access(t))
	var db *store.DB
	poll.Until(t, "a Sentinel names the master", func() bool { // a busy machine takes long for the handshakes of TLS
		var err error
		db, err = store.Open(t.Context(), s.SecureURL("sluice"))
		return err == nil
	})
	defer db.Close()
	old := s.Master()
	if err := s.Sentinels[0].Client().Do(t.Context(), "sentinel", "failover", "sluice").Err(); err != nil {
		t.Fatal(err)
	}
	s.Await(old)
	former := old.Client()
	poll.Until(t, "the former master follows", func() bool {
		return strings.Contains(former.Info(t.Context(), "replication").Val(), "master_link_status:up")
	})
	poll.Until(t, "the new master accepts a write", func() bool { return db.Set(t.Context(), "sluice:x", 1, 0).Err() == nil })
}

// TestKeysOfANumberShareASlot: on a Cluster every key of a number is in one slot, and the numbers are spread over the
// masters. It looks at all keys of the masters after messages of 16 numbers have gone all the way.
func TestKeysOfANumberShareASlot(t *testing.T) {
	t.Parallel()
	many := make([]string, 16)
	for i := range many {
		many[i] = fmt.Sprint(106540352243000 + i)
	}
	w := setupOn(t, cluster, 80, graphsim.Options{Webhook: graphsim.Webhook{Read: 1}}, configured(many, 80))
	w.worker()
	ids := w.orderFrom(many, 10*len(many), message.Utility)
	w.settled(ids, func(r client.Record) bool { return r.State == client.StateRead })

	slots := map[string]map[int64]int{} // by number: how many keys it has in each slot
	masters := map[string]int{}         // by number: on how many masters it has keys
	busy := 0                           // masters with keys of numbers
	w.redis.eachMaster(t, func(c redis.UniversalClient) error {
		keys, err := c.Keys(t.Context(), "*").Result()
		if err != nil {
			return err
		}
		here := map[string]bool{}
		for _, key := range keys {
			i := slices.IndexFunc(many, func(n string) bool { return strings.Contains(key, n) })
			if i < 0 {
				continue
			}
			slot, err := c.ClusterKeySlot(t.Context(), key).Result()
			if err != nil {
				return err
			}
			if slots[many[i]] == nil {
				slots[many[i]] = map[int64]int{}
			}
			slots[many[i]][slot]++
			here[many[i]] = true
		}
		for n := range here {
			masters[n]++
		}
		if len(here) > 0 {
			busy++
		}
		t.Logf("%s has %d keys, and those of %d numbers", c.(*redis.Client).Options().Addr, len(keys), len(here))
		return nil
	})
	for _, n := range many {
		if len(slots[n]) != 1 || masters[n] != 1 {
			t.Errorf("%s has keys in the slots %v, on %d masters: want one", n, slots[n], masters[n])
		}
		for slot, keys := range slots[n] {
			if want := w.redis.admin.ClusterKeySlot(t.Context(), store.Key(message.DefaultShards.Of(n), "x")).Val(); slot != want || keys < 10 {
				t.Errorf("%s has %d keys in slot %d, want at least its 10 records in that of its shard, %d", n, keys, slot, want)
			}
		}
	}
	if busy != 3 {
		t.Errorf("%d of 3 masters have keys of the numbers", busy)
	}
}
