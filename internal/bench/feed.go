package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/rig"
)

// feed writes statuses to the event streams, and reads them with one stream of GET /v1/events: first while they are
// written, then all of them again, as a consumer does that was away.
func feed(ctx context.Context, o Options) ([]Row, error) {
	o.Rate, o.Duration, o.Numbers = cmp.Or(o.Rate, 12_000), cmp.Or(o.Duration, 10*time.Second), cmp.Or(o.Numbers, 12)
	var rows []Row
	for _, durability := range o.durabilities(Relaxed, Fsync) {
		o.say("feed: %s", durability)
		more, err := feedOnce(ctx, o, durability)
		rows = append(rows, more...)
		if err != nil {
			return rows, err
		}
	}
	return rows, nil
}

func feedOnce(ctx context.Context, o Options, durability string) (rows []Row, err error) {
	w, err := newWorld(ctx, o, durability)
	if err != nil {
		return nil, err
	}
	defer w.close()
	numbers := rig.Numbers(o.Numbers, 80)
	if err := w.configure(numbers); err != nil {
		return nil, err
	}
	producer, err := w.program(ctx, "producer")
	if err != nil {
		return nil, err
	}
	total := int(float64(o.Rate) * o.Duration.Seconds())
	read := func(row Row, from string, write func() error) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Minute+3*o.Duration)
		defer cancel()
		consumer, err := openFeed(ctx, producer.Addr, from)
		if err != nil {
			return err
		}
		defer consumer.close()
		before, err := w.used(ctx, []*rig.Process{producer})
		if err != nil {
			return err
		}
		start := time.Now()
		var g errgroup.Group
		g.Go(write)
		g.Go(func() error { return consumer.read(total) })
		if err := g.Wait(); err != nil {
			return err
		}
		row.PerSecond = new(ratio(float64(total), time.Since(start).Seconds()))
		after, err := w.used(ctx, []*rig.Process{producer})
		if err != nil {
			return err
		}
		after.since(before).costs(&row, total)
		if from == "now" {
			row.P50, row.P99 = millis(percentile(consumer.ages, 50)), millis(percentile(consumer.ages, 99))
		}
		resident, err := producer.Resident()
		row.Resident = new(resident / (1 << 20))
		rows = append(rows, row)
		return err
	}
	live := Row{Case: fmt.Sprintf("%d events per second, one stream", o.Rate), Durability: durability, Numbers: o.Numbers}
	err = w.profile(ctx, "feed-"+durability, []*rig.Process{producer}, o.Duration, func() error {
		return read(live, "now", func() error {
			return w.write(ctx, o.Rate, total, func(n int) message.Event { return status(numbers[n%len(numbers)].ID) })
		})
	})
	if err != nil {
		return rows, err
	}
	again := Row{Case: fmt.Sprintf("%d stored events, one stream from the oldest", total), Durability: durability, Numbers: o.Numbers}
	err = read(again, "oldest", func() error { return nil })
	return rows, err
}

// status returns a delivery report of a number that Meta sends now.
func status(number string) message.Event {
	now := time.Now()
	return message.Event{
		Type: message.EventStatus, At: now.UnixMilli(), Number: number, WABA: "102290129340398", Field: "messages", Meta: statusMeta,
		Report: &message.StatusReport{Number: number, WAMID: statusWAMID, Status: "delivered", At: now.UTC(), Marker: statusMarker},
	}
}

const (
	statusWAMID  = "wamid.HBgLMTY1MDU1NTEyMzQVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA"
	statusMarker = "sl1.prod.106540352242922-kbpmyzgsq5f3u2hd7xw4orietc.1-miad5234.5f0c81aa"
)

var statusMeta = []byte(`{"id":"` + statusWAMID + `","status":"delivered","timestamp":"1763820425","recipient_id":"16505551234",` +
	`"biz_opaque_callback_data":"` + statusMarker + `","pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}}`)

// write appends total events at a rate: event returns the n-th when it is due.
func (w *world) write(ctx context.Context, rate, total int, event func(n int) message.Event) error {
	const tick = 10 * time.Millisecond
	stream := events.New(w.db, shards, events.Options{})
	start := time.Now()
	for written := 0; written < total; {
		due := min(total, int(float64(rate)*(time.Since(start)+tick).Seconds()))
		var batch []message.Event
		for ; written < due; written++ {
			batch = append(batch, event(written))
		}
		if err := stream.Append(ctx, batch); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(tick):
		}
	}
	return nil
}

// feedConsumer reads a stream of GET /v1/events.
type feedConsumer struct {
	answer *http.Response
	body   *bufio.Reader
	ages   []time.Duration // of the events when they arrived, sorted
}

// openFeed opens a stream and reads the position at which it begins.
func openFeed(ctx context.Context, addr, from string) (*feedConsumer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/v1/events?from="+from, nil)
	if err != nil {
		return nil, fmt.Errorf("open the stream: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+rig.APIKey)
	req.Header.Set("Accept", "text/event-stream")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("open the stream: %w", err)
	}
	c := &feedConsumer{answer: answer, body: bufio.NewReaderSize(answer.Body, 256<<10)}
	if answer.StatusCode != http.StatusOK {
		c.close()
		return nil, fmt.Errorf("open the stream: %s", answer.Status)
	}
	for {
		line, err := c.body.ReadSlice('\n')
		if err != nil {
			c.close()
			return nil, fmt.Errorf("open the stream: %w", err)
		}
		if len(line) == 1 {
			return c, nil
		}
	}
}

func (c *feedConsumer) close() { c.answer.Body.Close() }

// read reads n events.
func (c *feedConsumer) read(n int) error {
	for len(c.ages) < n {
		line, err := c.body.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("after %d of %d events: %w", len(c.ages), n, err)
		}
		_, rest, isEvent := bytes.Cut(line, []byte(`"at":`))
		if !isEvent {
			continue
		}
		digits, _, _ := bytes.Cut(rest, []byte(","))
		at, _ := strconv.ParseInt(string(digits), 10, 64)
		c.ages = append(c.ages, time.Since(time.UnixMilli(at)))
	}
	slices.Sort(c.ages)
	return nil
}
