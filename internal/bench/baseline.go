package bench

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"sluice/internal/cloudapi"
	"sluice/internal/content"
	"sluice/internal/ports"
	"sluice/internal/rig"
)

// AsynqSettings say how asynq runs alone, as its documentation describes.
type AsynqSettings struct {
	Redis       string         `json:"redis"`
	URL         string         `json:"url"` // each task's payload is POSTed there; empty: the handler does nothing
	Servers     int            `json:"servers"`
	Concurrency int            `json:"concurrency"` // of each server
	Queues      map[string]int `json:"queues"`
	Strict      bool           `json:"strict"`
	// Rate is the limit of each server, in tasks per second, by the recipe of asynq's wiki: an error that does
	// not count as a failure delays the task. 0: no limit.
	// https://github.com/hibiken/asynq/wiki/Rate-Limiting
	Rate float64 `json:"rate"`
}

// asynqCounts is what the asynq part answers at its address.
type asynqCounts struct {
	Tasks int64 `json:"tasks"` // fetched from a queue
}

var errLimited = errors.New("rate limited")

// serveAsynq runs asynq's own servers until ctx ends.
func serveAsynq(ctx context.Context, addr string, s AsynqSettings) error {
	c := redis.NewClient(&redis.Options{Addr: s.Redis, PoolSize: 64})
	defer c.Close()
	post := &http.Client{
		Timeout:   20 * time.Second,
		Transport: &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 4096},
	}
	var tasks atomic.Int64
	var servers []*asynq.Server
	for range s.Servers {
		limit := rate.NewLimiter(rate.Inf, 0)
		if s.Rate > 0 {
			limit = rate.NewLimiter(rate.Limit(s.Rate), max(1, int(s.Rate)))
		}
		srv := asynq.NewServerFromRedisClient(c, asynq.Config{
			Concurrency: s.Concurrency, Queues: s.Queues, StrictPriority: s.Strict, LogLevel: asynq.FatalLevel,
			ShutdownTimeout: time.Second,
			IsFailure:       func(err error) bool { return !errors.Is(err, errLimited) },
			RetryDelayFunc: func(int, error, *asynq.Task) time.Duration {
				return rand.N(10 * time.Second) // as in the recipe
			},
		})
		err := srv.Start(asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
			tasks.Add(1)
			if !limit.Allow() {
				return errLimited
			}
			if s.URL == "" {
				return nil
			}
			return postTask(ctx, post, s.URL, t.Payload())
		}))
		if err != nil {
			return err
		}
		servers = append(servers, srv)
	}
	err := rig.Listen(ctx, addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(asynqCounts{tasks.Load()})
	}))
	var g errgroup.Group
	for _, srv := range servers {
		g.Go(func() error { srv.Shutdown(); return nil })
	}
	g.Wait()
	return err
}

// postTask makes the POST that Sluice makes.
func postTask(ctx context.Context, c *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+rig.Token)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answered %s", resp.Status)
	}
	return nil
}

// enqueue adds a task whose payload is the body of the POST, with options under which asynq
// never archives it.
func enqueue(ctx context.Context, c *asynq.Client, queue string, body []byte) error {
	_, err := c.EnqueueContext(ctx, asynq.NewTask("send", body), asynq.Queue(queue), asynq.MaxRetry(1_000_000))
	return err
}

// fillAsynq enqueues n tasks.
func (w *world) fillAsynq(ctx context.Context, queue string, n int) error {
	return EnqueueAsynq(ctx, w.Redis.Addr, queue, n, func(i int) ([]byte, error) {
		object, to := messageObject(i)
		return Body(object, to, "sl1.bench.asynq.1.0")
	})
}

// Body returns the body of Sluice's POST to Meta for a message object.
func Body(object json.RawMessage, to, marker string) ([]byte, error) {
	payload, err := content.Payload(object, to)
	if err != nil {
		return nil, err
	}
	return cloudapi.Body(payload, marker, time.Time{})
}

// EnqueueAsynq enqueues n tasks by asynq's own client, many at the same time. The payload of each is the body of its
// POST.
func EnqueueAsynq(ctx context.Context, addr, queue string, n int, body func(i int) ([]byte, error)) error {
	const clients = 32
	c := redis.NewClient(&redis.Options{Addr: addr, PoolSize: clients, DisableIdentity: true})
	defer c.Close()
	tasks := asynq.NewClientFromRedisClient(c)
	g, ctx := errgroup.WithContext(ctx)
	for i := range clients {
		g.Go(func() error {
			for j := i; j < n; j += clients {
				b, err := body(j)
				if err != nil {
					return err
				}
				if err := enqueue(ctx, tasks, queue, b); err != nil {
					return fmt.Errorf("fill asynq's queue: %w", err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// asynq starts asynq alone. Its handler POSTs to the far side. Without a far side it does
// nothing.
func (w *world) asynq(ctx context.Context, s AsynqSettings) (*rig.Process, error) {
	addr, err := ports.Free()
	if err != nil {
		return nil, err
	}
	s.Redis = w.Redis.Addr
	s.URL = w.messagesURL()
	return w.Served(ctx, "asynq", addr, s)
}

// messagesURL returns the URL of messages at the far side; empty: there is no far side.
func (w *world) messagesURL() string {
	far := w.far
	if far == nil {
		far = w.Sim
	}
	if far == nil {
		return ""
	}
	return "http://" + far.Addr + "/v25.0/" + rig.Numbers(1, 1)[0].ID + "/messages"
}

// counts reads the counts of asynq's process.
func (w *world) counts(ctx context.Context, p *rig.Process) (c asynqCounts, err error) {
	b, err := w.Get(ctx, "http://"+p.Addr+"/")
	if err != nil {
		return c, errors.Join(err, p.Alive())
	}
	return c, json.Unmarshal(b, &c)
}

// enqueueHandler is the smallest intake with asynq alone.
func enqueueHandler(addr string) http.Handler {
	c := asynq.NewClientFromRedisClient(redis.NewClient(&redis.Options{Addr: addr, PoolSize: 64}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 256<<10))
		if err != nil {
			http.Error(w, "unreadable", http.StatusBadRequest)
			return
		}
		info, err := c.EnqueueContext(r.Context(), asynq.NewTask("send", body), asynq.Queue("q"))
		if err != nil {
			http.Error(w, "not enqueued", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		json.NewEncoder(w).Encode(map[string]string{"id": info.ID})
	})
}

// checkHMAC is the smallest webhook handler.
func checkHMAC(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	if err != nil {
		http.Error(w, "unreadable", http.StatusBadRequest)
		return
	}
	mac := hmac.New(sha256.New, []byte(rig.AppSecret))
	mac.Write(body)
	given := r.Header.Get(cloudapi.SignatureHeader)
	if !hmac.Equal([]byte(given), []byte("sha256="+hex.EncodeToString(mac.Sum(nil)))) {
		http.Error(w, "signature", http.StatusUnauthorized)
	}
}
