package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"sluice/client"
	"sluice/internal/message"
)

// order is one message as the caller sees it.
type order struct {
	ID     string        `json:"id"`
	Key    string        `json:"key"`
	Number string        `json:"number"`
	Class  message.Class `json:"class"`
	Asked  time.Time     `json:"asked"`          // when the first request was made
	Taken  time.Time     `json:"taken,omitzero"` // when the 202 came; zero: none came
	Tries  int           `json:"tries"`
	Made   int           `json:"made"` // how often it was answered as a new message, and not as a repeat
	Last   string        `json:"last_error,omitempty"`
}

// producer sends messages through the API as a careful caller does: with a key, and repeated until the 202. It keeps
// its own list of the answers.
type producer struct {
	api     *client.Client
	numbers []string
	class   message.Class
	run     string // the beginning of each key, so that two runs have different keys
	recipe  func(i int) (object map[string]any, to string)
	once    bool // do not repeat a request

	mu       sync.Mutex
	orders   []*order
	down     time.Time     // since when every request failed; zero: the last one did not fail
	away     time.Duration // the longest such time
	refusals int
	orderly  sync.WaitGroup
	err      error // why the producer stopped
}

// order sends n messages in the background, evenly over the numbers, at a rate per second.
func (p *producer) order(ctx context.Context, n int, rate float64) {
	orders, first := p.reserve(n)
	slots := make(chan int)
	p.orderly.Go(func() {
		defer close(slots)
		tick := time.NewTicker(max(time.Millisecond, time.Duration(float64(time.Second)/rate)))
		defer tick.Stop()
		began := time.Now()
		for i := 0; i < n; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for due := int(time.Since(began).Seconds() * rate); i < min(n, due+1); i++ {
				slots <- i
			}
		}
	})
	for range 16 {
		p.orderly.Go(func() {
			for i := range slots {
				if err := p.one(ctx, orders[i], first+i); err != nil {
					p.mu.Lock()
					p.err = errors.Join(p.err, err)
					p.mu.Unlock()
				}
			}
		})
	}
}

// reserve adds n orders to the list, and returns them with the index of the first.
func (p *producer) reserve(n int) ([]*order, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first := len(p.orders)
	for i := range n {
		number := p.numbers[(first+i)%len(p.numbers)]
		key := fmt.Sprintf("%s-%d", p.run, first+i)
		p.orders = append(p.orders, &order{ID: message.NewID(number, key), Key: key, Number: number, Class: p.class})
	}
	return slices.Clone(p.orders[first:]), first
}

// one sends a message until it is accepted. No other goroutine reads o in the meantime.
func (p *producer) one(ctx context.Context, o *order, i int) error {
	object := withTo(p.recipe(i))
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		answer, err := p.try(ctx, o, object)
		if err == nil {
			if answer.ID != o.ID {
				return fmt.Errorf("order %s became %s, not %s", o.Key, answer.ID, o.ID)
			}
			return nil
		}
		problem, refused := errors.AsType[*client.Problem](err)
		if refused && problem.Status < 500 && problem.Status != http.StatusTooManyRequests {
			return fmt.Errorf("order %s: %w", o.Key, err)
		}
		if p.once {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil // the run has ended, so no answer comes
		case <-time.After(pause):
		}
	}
}

// try makes one request and records its result.
func (p *producer) try(ctx context.Context, o *order, object []byte) (client.Accepted, error) {
	ctx, cancel := context.WithTimeout(ctx, 12*time.Second) // longer than the API takes to answer
	defer cancel()
	asked := time.Now()
	r, err := p.api.Send(ctx, client.Message{From: o.Number, Class: client.Class(o.Class), Key: o.Key, Content: object})
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	o.Tries++
	if o.Asked.IsZero() {
		o.Asked = asked
	}
	switch {
	case err == nil:
		o.Taken = now
		if !r.Duplicate {
			o.Made++
		}
		if !p.down.IsZero() {
			p.away = max(p.away, now.Sub(p.down))
			p.down = time.Time{}
		}
	default:
		o.Last = err.Error()
		if p.down.IsZero() {
			p.down = asked
		}
		p.refusals++
	}
	return r, err
}

// wait blocks until everything ordered so far is accepted or given up.
func (p *producer) wait() error {
	p.orderly.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// taken returns the orders that were answered 202.
func (p *producer) taken() []order {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []order
	for _, o := range p.orders {
		if !o.Taken.IsZero() {
			all = append(all, *o)
		}
	}
	return all
}

// text returns the i-th text message, which has a recipient of its own.
func text(i int) (map[string]any, string) {
	return map[string]any{"type": "text", "text": map[string]any{"body": "Your order has left."}}, fmt.Sprintf("+49%09d00", i)
}
