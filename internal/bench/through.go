package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/client"
	"sluice/internal/cloudapi"
	"sluice/internal/message"
	"sluice/internal/rig"
)

// This file moves messages through their life from outside, by HTTP only. It does not depend on how Sluice stores a
// message, so its figures compare one way of storing with another.

// group describes how messages are posted: how many in one request, over how many connections.
type group struct{ lines, connections int }

// loads is how a backlog is posted. On a busy machine, more at the same time would not be stored within the 5 s
// that the producer allows.
var loads = group{lines: 200, connections: 4}

// accept sends messages first to first+n-1 to the producer as batches. Message i goes to
// number i modulo the count of numbers.
func (w *world) accept(ctx context.Context, producer *rig.Process, numbers []rig.Number, first, n int, as group) error {
	api := w.api(producer)
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for range as.connections {
		g.Go(func() error {
			for {
				at := int(next.Add(int64(as.lines))) - as.lines
				if at >= n || ctx.Err() != nil {
					return context.Cause(ctx)
				}
				if err := acceptBatch(ctx, api, numbers, first+at, min(as.lines, n-at)); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

func acceptBatch(ctx context.Context, api *client.Client, numbers []rig.Number, first, n int) error {
	var lines bytes.Buffer
	for i := first; i < first+n; i++ {
		object, _ := messageObject(i)
		b, err := json.Marshal(client.Message{From: numbers[i%len(numbers)].ID, Content: object, Class: client.ClassMarketing})
		if err != nil {
			return err
		}
		lines.Write(append(b, '\n'))
	}
	accepted := 0
	err := api.SendLines(ctx, &lines, func(v client.LineResult) error {
		if v.Status != http.StatusAccepted {
			return fmt.Errorf("the producer refused line %d: %w", v.Line, v.Problem)
		}
		accepted++
		return nil
	})
	if err == nil && accepted != n {
		err = fmt.Errorf("the producer accepted %d of %d messages", accepted, n)
	}
	return err
}

// fill sends a backlog to a producer that runs only for this, and waits until Redis is idle.
func (w *world) fill(ctx context.Context, numbers []rig.Number, n int) error {
	producer, err := w.program(ctx, "producer")
	if err != nil {
		return err
	}
	began := time.Now()
	if err := w.accept(ctx, producer, numbers, 0, n, loads); err != nil {
		return fmt.Errorf("fill the backlog: %w", err)
	}
	w.o.say("  %d messages waiting, accepted in %s", n, time.Since(began).Round(time.Millisecond))
	producer.Stop()
	return w.written(ctx)
}

// report posts a status of each message to the webhook program, several in one signed webhook, and pauses for gap
// after each webhook.
func (w *world) report(ctx context.Context, hook *rig.Process, of []arrival, status string, perPost int, gap time.Duration) error {
	for len(of) > 0 {
		n := min(perPost, len(of))
		body := notification(of[:n], status)
		of = of[n:]
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, rig.HookURL(hook.Addr), bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set(cloudapi.SignatureHeader, cloudapi.Sign(rig.AppSecret, body))
		resp, err := w.HTTP.Do(req)
		if err != nil {
			return fmt.Errorf("report %s: %w", status, err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("report %s: the webhook program answered %s", status, resp.Status)
		}
		if gap > 0 {
			if err := pause(ctx, gap); err != nil {
				return err
			}
		}
	}
	return nil
}

// notification returns the body of a webhook with a status of each message, as Meta sends it:
// with a change for each run of messages of the same number.
func notification(of []arrival, status string) []byte {
	var b bytes.Buffer
	b.WriteString(`{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[`)
	at := time.Now().Unix()
	for i, a := range of {
		if i == 0 || a.Number != of[i-1].Number {
			if i > 0 {
				b.WriteString(`]},"field":"messages"},`)
			}
			fmt.Fprintf(&b, `{"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":"%s"},"statuses":[`, a.Number)
		} else {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"id":"%s","status":"%s","timestamp":"%d","recipient_id":"%s","biz_opaque_callback_data":"%s",`+
			`"pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"marketing"}}`, a.WAMID, status, at, a.To, a.Marker)
	}
	b.WriteString(`]},"field":"messages"}]}]}`)
	return b.Bytes()
}

// awaitState waits until the newest message of each number has a state. The reports of a number
// are applied in their order, so the older messages have it too, or will have it within moments.
func (w *world) awaitState(ctx context.Context, api *client.Client, of []arrival, state message.State, d time.Duration) error {
	newest := map[string]arrival{}
	for _, a := range of {
		newest[a.Number] = a
	}
	deadline := time.Now().Add(d)
	for _, a := range newest {
		if err := w.awaitOne(ctx, api, a, state, deadline); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) awaitOne(ctx context.Context, api *client.Client, a arrival, state message.State, deadline time.Time) error {
	id, ok := rig.MarkedID(a.Marker)
	if !ok {
		return fmt.Errorf("message %s has no marker of Sluice: %q", a.WAMID, a.Marker)
	}
	for {
		r, err := api.Get(ctx, id)
		if err != nil || r.State == client.State(state) {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("message %s is %s, want %s; reports are not applied in time", id, r.State, state)
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// verify checks that a sample of the messages has a state. It costs Redis a read for
// each, so a run calls it after the measurement.
func (w *world) verify(ctx context.Context, api *client.Client, of []arrival, state message.State) error {
	deadline := time.Now().Add(time.Minute)
	for i := 0; i < len(of); i += max(1, len(of)/200) {
		if err := w.awaitOne(ctx, api, of[i], state, deadline); err != nil {
			return err
		}
	}
	return nil
}
