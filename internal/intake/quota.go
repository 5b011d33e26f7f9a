package intake

import (
	"context"
	"errors"

	"sluice/internal/message"
)

// acceptAll is Acceptor.AcceptAll within the quotas of the clients. A message that is over a quota is accepted all the same if its key is
// known, because it repeats an earlier one. What was not accepted now does not count.
func (in *Intake) acceptAll(ctx context.Context, all []message.Message) []message.AcceptResult {
	var refused []error
	if in.o.Quotas != nil {
		refused = in.o.Quotas.Take(ctx, all)
	}
	if refused == nil {
		return in.o.Acceptor.AcceptAll(ctx, all)
	}
	results := make([]message.AcceptResult, len(all))
	var asked []message.Message
	var places []int
	for i, m := range all {
		if results[i].Err = refused[i]; refused[i] == nil || in.repeats(ctx, m) {
			asked, places = append(asked, m), append(places, i)
		}
	}
	var back []message.Message
	for k, r := range in.o.Acceptor.AcceptAll(ctx, asked) {
		i := places[k]
		if results[i] = r; refused[i] == nil && (r.Err == nil && r.Duplicate || r.Err != nil && !unclear(r.Err)) {
			back = append(back, all[i])
		}
	}
	if len(back) > 0 {
		in.o.Quotas.Return(ctx, back)
	}
	return results
}

// repeats reports whether the key of a message is known.
func (in *Intake) repeats(ctx context.Context, m message.Message) bool {
	if m.Key == "" {
		return false
	}
	_, err := in.o.Reader.Get(ctx, m.ID)
	return err == nil
}

// unclear reports whether a message may be stored after an error.
func unclear(err error) bool {
	for _, known := range []error{message.ErrKeyReused, message.ErrFull, message.ErrNoLeader, message.ErrFollowers} {
		if errors.Is(err, known) {
			return false
		}
	}
	return true
}
