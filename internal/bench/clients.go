package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/client"
	"sluice/internal/ports"
	"sluice/internal/rig"
)

// addedClients is the case in which clients are added.
const addedClients = "40 clients are added"

// addLimit is how long a client may take until Meta has its first message: then something is broken, and not slow.
const addLimit = time.Minute

// clients sends the backlog of one number at its rate limit. For a third of the time clients with numbers and API keys of their
// own are added by requests, and each sends a message. The time before is what it is compared with.
func clients(ctx context.Context, o Options) ([]Row, error) {
	const added = 40
	rates := []int{80, 1000}
	if o.Rate > 0 {
		rates = []int{o.Rate}
	}
	o.Duration = cmp.Or(o.Duration, 20*time.Second)
	var rows []Row
	for _, durability := range o.durabilities(Relaxed) {
		for _, rate := range rates {
			row := Row{
				Durability: durability, Rate: rate, Workers: cmp.Or(o.Workers, 3), Numbers: 1,
				Backlog: max(o.Backlog, rate*int((3*o.Duration+settle+10*time.Second)/time.Second)),
			}
			o.say("clients: %s", row.about())
			var took []time.Duration
			measured, err := paceThrough(ctx, o, row, func(w *world) ([]period, error) {
				a, err := w.adding(ctx)
				also := []*rig.Process{a.api}
				quiet := func(ctx context.Context) error { return pause(ctx, o.Duration) }
				add := func(ctx context.Context) (err error) {
					took, err = a.spread(ctx, added, o.Duration)
					return err
				}
				return []period{
					{"before clients are added", "clients-before", also, quiet},
					{addedClients, "clients", also, add},
					{"after", "clients-after", also, quiet},
				}, err
			})
			if err != nil {
				return rows, err
			}
			measured[1].compare(measured[0])
			measured[2].compare(measured[0])
			measured[1].P50, measured[1].P99 = millis(percentile(took, 50)), millis(percentile(took, 99))
			rows = append(rows, measured...)
		}
	}
	return rows, nil
}

// adding adds clients by the APIs of a producer.
type adding struct {
	*world
	api     *rig.Process
	console *client.Client
}

// adding starts a producer.
func (w *world) adding(ctx context.Context) (adding, error) {
	addr, err := ports.Free()
	if err != nil {
		return adding{}, err
	}
	api, err := w.Program(ctx, "producer", "", nil, "--listen-console", addr)
	return adding{world: w, api: api, console: w.API(addr)}, err
}

// spread adds n clients in turn over this time. It returns how long each took from its first request until Meta had its message.
func (a adding) spread(ctx context.Context, n int, over time.Duration) ([]time.Duration, error) {
	took := make([]time.Duration, n)
	g, ctx := errgroup.WithContext(ctx)
	for i := range n {
		g.Go(func() error {
			if err := pause(ctx, time.Duration(i)*over/time.Duration(n)); err != nil {
				return err
			}
			begun := time.Now()
			err := a.one(ctx, i)
			took[i] = time.Since(begun)
			return err
		})
	}
	return took, g.Wait()
}

// one adds the i-th client, and returns when Meta has its first message, or with an error after addLimit.
func (a adding) one(ctx context.Context, i int) error {
	ctx, cancel := context.WithTimeout(ctx, addLimit)
	defer cancel()
	name, number := fmt.Sprintf("client-%d", i), fmt.Sprintf("2065403%08d", i)
	var key struct{ Key string }
	for _, add := range []struct {
		path string
		body map[string]any
		out  any
	}{
		{"/v1/clients", map[string]any{"name": name}, nil},
		{"/v1/numbers", map[string]any{"phone_number_id": number, "client": name, "access_token": rig.Token, "rate_limit": 80}, nil},
		{"/v1/api-keys", map[string]any{"name": name, "client": name, "phone_number_ids": []string{"*"}, "scopes": []string{"messages:send", "messages:read"}}, &key},
	} {
		add.body["actor"], add.body["reason"] = "bench", "a load run"
		if err := a.console.Call(ctx, http.MethodPost, add.path, add.body, add.out); err != nil {
			return fmt.Errorf("%s: %w", add.path, err)
		}
	}
	api := client.New("http://"+a.api.Addr, key.Key, client.WithHTTPClient(a.HTTP), client.WithRetryFor(0))
	object, _ := messageObject(2_000_000 + i)
	for {
		sent, err := api.SendAndWait(ctx, client.Message{From: number, Content: object, Class: client.ClassUtility, Key: name})
		var p *client.Problem
		if err == nil && sent.WAMID != "" {
			return nil
		}
		// The producer reads the directory once a second, so at first it does not know the key or the number.
		unknown := errors.As(err, &p) && (p.Status == http.StatusUnauthorized || p.Status == http.StatusNotFound)
		if err == nil || unknown {
			err = pause(ctx, 50*time.Millisecond)
		}
		if err != nil {
			return fmt.Errorf("the first message of %s: %w", name, err)
		}
	}
}
