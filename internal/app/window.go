package app

import (
	"context"
	"time"

	"sluice/internal/content"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/servicewindow"
)

// newWindows returns the customer service windows for a program. It says in the log if a setting of them has no effect.
func newWindows(p *Program, shards message.Shards, persons *people.People, stream *events.Stream) *servicewindow.Windows {
	policy := policies(p.directory)
	w := servicewindow.New(p.DB, servicewindow.Options{
		Shards: shards, People: persons, Numbers: p.directory.Numbers, Tracked: p.directory.RefusesOutsideWindow,
		Channel: stream.Channel, Watermark: stream.Watermark, Applied: stream.Applied,
		Repeats: func(number string) time.Duration { return policy(number, message.Service).RepeatWindow }, Log: p.Log,
	})
	for _, number := range p.directory.Numbers() {
		if p.directory.RefusesOutsideWindow(number) && !w.Tracked(number) {
			p.Log.Error("customer_service_window has no effect without a secrets key and the index of recipients: set secrets_key_file or SLUICE_SECRETS_KEY, with the same key for all programs", "phone_number_id", number)
		}
	}
	return w
}

// outsideWindow returns a function that reports which new messages have a recipient whose customer service window is closed.
func outsideWindow(w *servicewindow.Windows) func(context.Context, []*message.Message) ([]bool, error) {
	return func(ctx context.Context, all []*message.Message) ([]bool, error) {
		asked := make([]servicewindow.Query, len(all))
		tracked := false
		for i, m := range all {
			asked[i] = servicewindow.Query{Number: m.From, Recipient: m.Content.Recipient()}
			tracked = tracked || w.Tracked(m.From)
		}
		if !tracked {
			return nil, nil
		}
		return w.ClosedNow(ctx, asked)
	}
}

// windowTimeout is the time limit of Redis for the check of a window right before a request.
const windowTimeout = 2 * time.Second

// inWindow returns message.ErrOutsideWindow if an attempt is of a free-form message whose recipient has a closed customer service window. It
// needs no round trip for a number that does not track windows.
func (w *worker) inWindow(a message.Attempt, object []byte) error {
	if a.Message.Template != "" || !w.windows.Tracked(a.Message.From) {
		return nil
	}
	to, service := content.Addressee(string(object))
	if !service || to == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), windowTimeout) // a stop must not end an attempt that has begun
	defer cancel()
	closed, err := w.windows.Closed(ctx, []servicewindow.Query{{Number: a.Message.From, Recipient: to}})
	if err != nil { // Meta decides
		w.Log.Warn("cannot read the customer service window before an attempt, Meta decides whether the message may be sent", "message_id", a.ID, "err", err)
		return nil
	}
	if closed[0] {
		return message.ErrOutsideWindow
	}
	return nil
}

// lostWrites reacts to writes that the Redis of a shard lost.
func (w *worker) lostWrites(ctx context.Context, shard message.Shard) {
	w.forgetWindows(ctx, shard)
	w.policy.LostWrites(ctx, shard)
}

// restored reacts to a Redis that lost more of a shard than the workers remember.
func (w *worker) restored(ctx context.Context, shard message.Shard, depth time.Duration) error {
	w.forgetWindows(ctx, shard)
	return w.policy.Restored(ctx, shard, depth)
}

func (w *worker) forgetWindows(ctx context.Context, shard message.Shard) {
	if err := w.windows.Lost(ctx, shard); err != nil {
		w.Log.Error("cannot note that Redis may have lost customer service windows: free-form messages may be refused for a day although Meta would take them", "shard", shard, "err", err)
	}
}
