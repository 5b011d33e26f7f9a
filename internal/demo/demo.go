// Package demo runs all of Sluice in one process against the Cloud API simulator, sends the messages of an
// order pipeline through it, and prints the result of every message. It is the first
// thing a newcomer runs.
package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/client"
	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/events"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/ops"
	"sluice/internal/store"
)

// Options say how the demo runs. Zero means the default.
type Options struct {
	Orders   int    // orders in the pipeline, three messages each; 500
	Seed     uint64 // of the simulator's faults; 1
	RedisURL string // an empty Redis to use; empty: one inside this process
	Keep     bool   // run on after the report, so that the user can try the API
	API      string // host:port of the API; empty: a free port
	Console  string // host:port of the console; empty: a free port
	Out      io.Writer
	Log      *slog.Logger // of the programs; nil: no logs
}

// The demo's numbers, key and secrets. Nothing here reaches Meta.
const (
	apiKey      = "demo-api-key-of-no-use-elsewhere"
	token       = "demo-access-token"
	appSecret   = "demo-app-secret"
	verifyToken = "demo-verify-token"
	secretsKey  = "demo-secrets-key-0123456789"
	rate        = 80 // messages per second of each number: Meta's standard throughput

	errorWindow   = 4 * time.Second
	inDoubtWindow = 6 * time.Second
	timeLimit     = 80 * time.Second
)

var numbers = []string{"106540352242922", "106540352242923", "106540352242924"}

// faults is what goes wrong at the simulated Meta.
var faults = graphsim.Faults{
	Latency:     graphsim.Span{Min: 20 * time.Millisecond, Max: 80 * time.Millisecond},
	Throttle:    0.002, // each slows its number for a while
	ErrorBefore: 0.01,
	ErrorAfter:  0.005,
	Lost:        0.005,
	Reset:       0.004,
}

// Run runs the demo. It returns an error if a message has not ended, or if one was
// sent twice.
func Run(ctx context.Context, o Options) error {
	if o.Orders == 0 {
		o.Orders = 500
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ops.RouteRedis(o.Log)
	world, err := build(ctx, o)
	if err != nil {
		return err
	}
	live, stop := context.WithCancel(ctx)
	var running errgroup.Group
	running.Go(func() error { return world.run(live) })
	err = world.pipeline(ctx, o)
	if o.Keep && ctx.Err() == nil {
		world.invite(o.Out)
		<-ctx.Done()
	}
	stop()
	return errors.Join(err, running.Wait())
}

// world is everything that the demo runs.
type world struct {
	redis    *embedded // nil with a Redis of the user
	db       *store.DB
	stream   *events.Stream
	sim      *graphsim.Sim
	graph    net.Listener
	programs []*app.Program
	api      *client.Client
	console  string // URL of the console
}

// build starts the simulator and makes the three programs. When it fails, it leaves nothing running.
func build(ctx context.Context, o Options) (*world, error) {
	w := &world{}
	if err := w.build(ctx, o); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) build(ctx context.Context, o Options) error {
	url, err := w.openRedis(ctx, o)
	if err != nil {
		return err
	}
	if w.graph, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return fmt.Errorf("listen for the simulator: %w", err)
	}
	c := common(url, "http://"+w.graph.Addr().String())
	webhook, err := app.NewWebhook(ctx, config.Webhook{Common: c, Listen: "127.0.0.1:0", Apps: []config.App{{
		Name: "main", Secret: appSecret, VerifyToken: verifyToken,
	}}}, o.Log)
	if err != nil {
		return err
	}
	w.programs = append(w.programs, webhook)
	tokens := map[string]string{}
	for _, n := range numbers {
		tokens[n] = token
	}
	worker, err := app.NewWorker(ctx, config.Worker{
		Common: c, Roles: []string{config.RoleSend, config.RoleReconcile, config.RoleRelay}, MarkerKey: "demo-marker-key-0123456789", Tokens: config.FixedTokens(tokens),
		Retry: config.Retry{Base: 500 * time.Millisecond, Max: 5 * time.Second, Attempts: 20},
	}, o.Log)
	if err != nil {
		return err
	}
	w.programs = append(w.programs, worker)
	producer, err := app.NewProducer(ctx, config.Producer{
		Common: c, Listen: cmp.Or(o.API, "127.0.0.1:0"), Console: cmp.Or(o.Console, "127.0.0.1:0"), APIKeys: []config.APIKey{apiKeyFor(apiKey)},
		SecretsKey: secretsKey, RecipientIndex: true,
	}, o.Log)
	if err != nil {
		return err
	}
	w.programs = append(w.programs, producer)
	w.api, w.console = client.New("http://"+producer.Addr(), apiKey), "http://"+producer.ConsoleAddr()
	w.stream = events.New(w.db, message.Shards(c.Shards), events.Options{})
	w.sim = graphsim.New(graphsim.Options{
		Token: token, Rate: rate, Seed: o.Seed, Faults: faults, Window: true,
		Webhook: graphsim.Webhook{
			URL: "http://" + webhook.Addr() + "/webhooks/whatsapp/main", Secret: appSecret,
			Delay: graphsim.Span{Min: 20 * time.Millisecond, Max: 400 * time.Millisecond},
			Read:  0.7, Tap: 0.5, Fail: 0.01, Double: 0.05, Shuffle: 0.1, Batch: 20,
		},
	})
	return nil
}

// openRedis opens the Redis that the demo uses, and returns its URL. A Redis with keys is refused: live workers may
// serve it, with tokens of real numbers.
func (w *world) openRedis(ctx context.Context, o Options) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("no answer within 10 s"))
	defer cancel()
	url := o.RedisURL
	if url == "" {
		own, err := startRedis()
		if err != nil {
			return "", err
		}
		w.redis, url = own, own.url()
		fmt.Fprintln(o.Out, "Redis runs inside this process, in memory only: its data is gone when the demo ends.")
	}
	db, err := store.Open(ctx, url)
	if err != nil {
		if o.RedisURL != "" {
			err = fmt.Errorf("--redis: %w. Start that Redis, or leave --redis out: then the demo starts its own", err)
		}
		return "", err
	}
	w.db = db
	if o.RedisURL == "" {
		return url, nil
	}
	empty, err := db.Empty(ctx)
	switch {
	case err != nil:
		return "", fmt.Errorf("--redis: %w", err)
	case !empty:
		return "", errors.New("--redis: that Redis is not empty. The demo uses only an empty Redis, because it sends every message that it finds there. Leave --redis out, or start another one: redis-server --port 6390")
	}
	return url, nil
}

// close stops what build started.
func (w *world) close() {
	for _, p := range w.programs {
		p.Close()
	}
	if w.graph != nil {
		w.graph.Close()
	}
	w.closeRedis()
}

func (w *world) closeRedis() {
	if w.db != nil {
		w.db.Close()
	}
	if w.redis != nil {
		w.redis.close()
	}
}

func common(redisURL, graphURL string) config.Common {
	c := config.Common{
		Environment: "demo", Shards: int(message.DefaultShards), Ops: "127.0.0.1:0", LogLevel: slog.LevelInfo,
		Redis:   config.Redis{URL: config.Secret(redisURL), Durability: config.Relaxed},
		Graph:   config.Graph{BaseURL: graphURL, Version: "v25.0"},
		Classes: map[string]config.Class{},
	}
	for _, n := range numbers {
		c.Numbers = append(c.Numbers, config.Number{ID: n, Rate: rate})
	}
	for _, class := range message.Classes() {
		c.Classes[string(class)] = config.Class{InDoubtWindow: inDoubtWindow, ErrorWindow: errorWindow}
	}
	return c
}

// run runs everything until ctx ends, and stops it in order.
func (w *world) run(ctx context.Context) error {
	defer w.closeRedis()
	// Meta goes on until the programs have stopped, because their last requests need answers.
	after, stop := context.WithCancel(context.WithoutCancel(ctx))
	var meta, ours errgroup.Group
	meta.Go(func() error {
		return ops.Serve(after, w.graph, w.sim.Handler(), ops.ServeOptions{Grace: 5 * time.Second})
	})
	meta.Go(func() error { return w.sim.Run(after) })
	for _, p := range w.programs {
		ours.Go(func() error { return p.Run(ctx) })
	}
	err := ours.Wait()
	stop()
	return errors.Join(err, meta.Wait())
}
