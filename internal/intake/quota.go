package intake

import (
	"context"
	"errors"
	"slices"

	"sluice/internal/message"
)

// acceptAll is Acceptor.AcceptAll within the quotas of the clients. A message that is over a quota is accepted all the same if its key is
// known, because it repeats an earlier one. What was not accepted now does not count, and leaves room for others of the same call. What is
// refused in the end counts as refused once.
func (in *Intake) acceptAll(ctx context.Context, all []message.Message) []message.AcceptResult {
	var refused []error
	var back func(places []int)
	if in.o.Quotas != nil {
		refused, back = in.o.Quotas.Take(ctx, all)
	}
	if refused == nil {
		return in.o.Acceptor.AcceptAll(ctx, all)
	}
	repeats := in.repeatsOver(ctx, all, refused)
	results := make([]message.AcceptResult, len(all))
	var asked, rest []message.Message
	var places, over, unused, repeated []int
	for i, m := range all {
		_, full := errors.AsType[*message.QuotaError](refused[i])
		switch results[i].Err = refused[i]; {
		case refused[i] == nil || repeats[i]:
			if asked, places = append(asked, m), append(places, i); refused[i] != nil {
				repeated = append(repeated, i)
			}
		case full:
			rest, over = append(rest, m), append(over, i)
		}
	}
	for k, r := range in.o.Acceptor.AcceptAll(ctx, asked) {
		i := places[k]
		if results[i] = r; refused[i] == nil && (r.Err == nil && r.Duplicate || r.Err != nil && !unclear(r.Err)) {
			unused = append(unused, i)
		}
	}
	if len(unused) == 0 {
		if len(repeated) > 0 {
			back(repeated)
		}
		for _, i := range over {
			in.metrics.overQuota(results[i].Err)
		}
		return results
	}
	if back(slices.Concat(unused, repeated, over)); len(rest) > 0 { // the rest is counted anew
		for k, r := range in.acceptAll(ctx, rest) {
			results[over[k]] = r
		}
	}
	return results
}

// repeatsOver reports which messages over a quota repeat earlier ones.
func (in *Intake) repeatsOver(ctx context.Context, all []message.Message, refused []error) map[int]bool {
	var over []message.Message
	var places []int
	for i, m := range all {
		if _, full := errors.AsType[*message.QuotaError](refused[i]); full && m.Key != "" {
			over, places = append(over, m), append(places, i)
		}
	}
	if len(over) == 0 {
		return nil
	}
	known := map[int]bool{}
	ids, err := in.o.Acceptor.Repeats(ctx, over)
	if err != nil {
		in.o.Log.Warn("cannot read whether messages over a quota repeat earlier ones, they are refused", "err", err)
	}
	for k, id := range ids {
		known[places[k]] = id != ""
	}
	return known
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
