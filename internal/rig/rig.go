// Package rig runs programs as processes of their own on this machine: a redis-server, the
// simulator, and Sluice's programs, configured for each other. Load runs and the fault matrix
// use it.
package rig

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/ports"
)

// The secrets of a rig. They protect nothing.
const (
	APIKey    = "rig-api-key-of-no-use-elsewhere" // may do everything
	Token     = "rig-access-token"                // the access token of every number
	AppSecret = "rig-app-secret"                  // of the app "main"

	VerifyToken = "rig-verify-token"
	MarkerKey   = "rig-marker-key-0123456789"
)

// Rig is a folder and the processes that run in it. It is safe for concurrent use.
type Rig struct {
	Dir   string   // of the configuration, Redis's data and the logs
	Redis *Process // nil before StartRedis
	Sim   *Process // nil before Simulate
	HTTP  *http.Client

	RedisUnder []string // a command that runs redis-server as its last arguments, such as valgrind; empty: none
	RedisEnv   []string // of redis-server

	FileLimit int64 // the size in bytes beyond which Redis cannot write its files, from its next start on; 0: none

	program string

	mu       sync.Mutex
	children []*Process
}

// New makes the folder of a rig. It starts its parts by the hidden command of program: see
// Command. The caller closes the rig.
func New(program string) (*Rig, error) {
	dir, err := os.MkdirTemp("", "sluice-rig-")
	if err != nil {
		return nil, fmt.Errorf("folder of the run: %w", err)
	}
	return &Rig{Dir: dir, program: program, HTTP: &http.Client{
		Timeout:   time.Minute,
		Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}}, nil
}

// Close ends all processes and removes the folder.
func (g *Rig) Close() {
	for _, p := range g.Children() {
		p.Kill()
	}
	g.HTTP.CloseIdleConnections()
	os.RemoveAll(g.Dir)
}

// Children returns all processes that were started, also those that have ended.
func (g *Rig) Children() []*Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]*Process(nil), g.children...)
}

// Start starts a program in the rig's folder. Of the environment of this process it gets only the path and
// the settings of the Go runtime, and env in addition.
func (g *Rig) Start(name string, env []string, program string, args ...string) (*Process, error) {
	all := []string{"PATH=" + os.Getenv("PATH")}
	for _, name := range []string{"GOMAXPROCS", "GOGC", "GOMEMLIMIT", "GODEBUG", "GOCOVERDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			all = append(all, name+"="+v)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	log := filepath.Join(g.Dir, fmt.Sprintf("%03d-%s.log", len(g.children), name))
	p, err := start(name, g.Dir, log, append(all, env...), program, args...)
	if err == nil {
		g.children = append(g.children, p)
	}
	return p, err
}

// Use makes program the executable of the parts that start from now on.
func (g *Rig) Use(program string) { g.program = program }

// Part starts the part with this name, see the type Part.
func (g *Rig) Part(name string, env []string, args ...string) (*Process, error) {
	return g.Start(name, env, g.program, append([]string{Command, name}, args...)...)
}

// Served starts a part with its settings as JSON, and waits until it listens at addr.
func (g *Rig) Served(ctx context.Context, name, addr string, settings any) (*Process, error) {
	b, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	p, err := g.Part(name, nil, addr, string(b))
	if err != nil {
		return nil, err
	}
	p.Addr = addr
	return p, p.Ready(ctx, Dials(addr))
}

// Simulate starts the simulator. It sends its webhooks to the webhook program at hook, host:port; empty:
// it sends none.
func (g *Rig) Simulate(ctx context.Context, o graphsim.Options, hook string) (err error) {
	addr, err := ports.Free()
	if err != nil {
		return err
	}
	o.Token = Token
	if hook != "" {
		o.Webhook.URL, o.Webhook.Secret = HookURL(hook), AppSecret
	}
	g.Sim, err = g.Served(ctx, "simulate", addr, o)
	return err
}

// HookURL is the URL of the app's webhooks at the webhook program at addr.
func HookURL(addr string) string { return "http://" + addr + "/webhooks/whatsapp/main" }

// Number is a phone number in the configuration.
type Number struct {
	ID   string `json:"phone_number_id"`
	Rate int    `json:"rate_limit,omitempty"` // messages per second; 0: what Meta says
	File string `json:"token_file"`
}

// Numbers returns n phone numbers that may send rate messages per second.
func Numbers(n, rate int) []Number {
	all := make([]Number, n)
	for i := range all {
		all[i] = Number{ID: fmt.Sprintf("1065403%08d", i), Rate: rate, File: "token"}
	}
	return all
}

// Configure writes the configuration of the programs: the rig's Redis and simulator, if they
// run, and settings, which add to it or replace parts of it.
func (g *Rig) Configure(numbers []Number, settings map[string]any) error {
	type object = map[string]any
	for name, content := range map[string]string{"token": Token, "secret": AppSecret, "verify": VerifyToken, "marker": MarkerKey} {
		if err := os.WriteFile(filepath.Join(g.Dir, name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("configure: %w", err)
		}
	}
	graph := "http://127.0.0.1:1"
	if g.Sim != nil {
		graph = "http://" + g.Sim.Addr
	}
	hash := sha256.Sum256([]byte(APIKey))
	all := object{
		"environment": "rig", "log_level": "warn",
		"graph":           object{"base_url": graph},
		"marker_key_file": "marker",
		"numbers":         numbers,
		"apps":            []object{{"name": "main", "secret_file": "secret", "verify_token_file": "verify"}},
		"api_keys":        []object{{"name": "rig", "sha256": hex.EncodeToString(hash[:]), "phone_number_ids": []string{"*"}, "scopes": []string{"messages:send", "messages:read", "events:read", "admin"}}},
	}
	maps.Copy(all, settings)
	b, err := json.Marshal(all) // JSON is YAML too
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	return os.WriteFile(filepath.Join(g.Dir, "sluice.yaml"), b, 0o600)
}

// Program starts one of Sluice's programs and waits until it is ready. The program serves at addr; empty: at a
// free address.
func (g *Rig) Program(ctx context.Context, name, addr string, env []string, args ...string) (*Process, error) {
	ops, err := ports.Free()
	if err != nil {
		return nil, err
	}
	all := []string{"--config", "sluice.yaml", "--listen-ops", ops}
	if flag := map[string]string{"producer": "--listen-api", "webhook": "--listen-webhook"}[name]; flag != "" {
		if addr == "" {
			if addr, err = ports.Free(); err != nil {
				return nil, err
			}
		}
		all = append(all, flag, addr)
		if name == "producer" && !slices.Contains(args, "--listen-console") {
			all = append(all, "--listen-console", "127.0.0.1:0")
		}
	}
	env = append(slices.Clone(env), "SLUICE_TEST_SHORT_WINDOWS=1") // the simulator answers at once
	p, err := g.Part(name, env, append(all, args...)...)
	if err != nil {
		return nil, err
	}
	p.Addr, p.Ops = addr, ops
	return p, p.Ready(ctx, func(ctx context.Context) error { _, err := g.Get(ctx, "http://"+ops+"/readyz"); return err })
}

// API returns a client of the producer at addr. It repeats nothing by itself, so that a run sees every failure.
func (g *Rig) API(addr string) *client.Client {
	return client.New("http://"+addr, APIKey, client.WithHTTPClient(g.HTTP), client.WithRetryFor(0))
}
