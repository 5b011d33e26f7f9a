package servicewindow

import (
	"context"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"time"

	"sluice/internal/message"
)

// sinceKey is a hash of the numbers whose windows are tracked: since when without a gap, in Unix milliseconds. See field.
const sinceKey = "sluice:windows:since"

// field names a number in it, with what identifies the secrets key: windows that were stored with another key are not found. While
// programs have different keys, each drops the fields of the others, so the time begins when all have the same.
func (w *Windows) field(number string) string {
	id := w.o.People.Identity("customer service windows").Hash
	return number + ":" + hex.EncodeToString(id[:4])
}

const (
	// settled is how much longer than Length a number must be tracked: workers learn a change of the setting within some seconds.
	settled = time.Minute
	// proofLag is how old the proof may be that no webhook was refused or missed.
	proofLag = time.Minute
	// applyLag is how old the watermark of a shard may be: until then Meta's webhooks are applied.
	applyLag = 10 * time.Second
	// learnEvery is how often a process asks again what it knows of a number, and tidyEvery how often Run looks at all numbers.
	learnEvery = 2 * time.Second
	tidyEvery  = 5 * time.Second
)

// knowledge is whether the windows of a number are known.
type knowledge struct {
	is bool
	at time.Time
}

// knows reports whether Sluice has seen all that may have opened windows of a number that are still open:
//
//   - It has tracked the number for the length of a window. Windows that were open before are closed by now.
//   - A webhook program runs, and none refused or missed a webhook so lately that Meta may not have repeated it.
//   - Meta reported a status of the number within the length of a window: its webhooks lead to this installation.
//   - What Meta reported is applied.
//
// The answer is remembered for a moment. After an error of Redis it is false: Meta decides then.
func (w *Windows) knows(ctx context.Context, number string) bool {
	w.mu.Lock()
	known, asked := w.known[number]
	w.mu.Unlock()
	if asked && time.Since(known.at) < learnEvery {
		return known.is
	}
	is, err := w.learn(ctx, number)
	if err != nil {
		w.log.Warn("cannot read whether customer service windows are known, Meta decides whether free-form messages may be sent", "phone_number_id", number, "err", err)
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known[number] = knowledge{is, time.Now()}
	return is
}

func (w *Windows) learn(ctx context.Context, number string) (bool, error) {
	text, err := w.db.HMGet(ctx, sinceKey, w.field(number)).Result()
	if err != nil {
		return false, err
	}
	now := w.now(ctx, number)
	if since := milli(text[0]); since.IsZero() || now.Sub(since) < Length+settled {
		return false, nil
	}
	c, err := w.o.Channel(ctx, number)
	if err != nil || !sound(c, now) || now.Sub(c.Gap) < w.o.Repeats(number) || now.Sub(c.LastStatus) > Length {
		return false, err
	}
	mark, err := w.o.Watermark(ctx, w.o.Shards.Of(number))
	return err == nil && now.Sub(mark) <= applyLag, err
}

// sound reports whether webhooks are received now.
func sound(c message.Channel, now time.Time) bool {
	return c.Programs > 0 && now.Sub(c.Open) <= proofLag
}

// milli reads a field with a time; zero: there is none.
func milli(field any) time.Time {
	text, _ := field.(string)
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms > 0 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

// Run keeps since when each number is tracked, until ctx ends. It returns nil. The processes that call Note must run it.
func (w *Windows) Run(ctx context.Context) error {
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		if err := w.tidy(ctx); err != nil && ctx.Err() == nil {
			w.log.Warn("cannot store since when customer service windows are tracked, will retry", "err", err)
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return nil
}

// tidy notes the numbers that are tracked from now on, and drops those that are not tracked any more. If webhooks were missed for so
// long that Meta may repeat them later than usual, all begin anew.
func (w *Windows) tidy(ctx context.Context) error {
	stored, err := w.db.HGetAll(ctx, sinceKey).Result()
	if err != nil {
		return err
	}
	now := w.db.Clock(ctx, sinceKey)
	ms := now.UnixMilli()
	var tracked []string
	for _, number := range w.o.Numbers() {
		if !w.Tracked(number) {
			continue
		}
		tracked = append(tracked, number)
		if field := w.field(number); stored[field] == "" {
			if err := w.db.HSetNX(ctx, sinceKey, field, ms).Err(); err != nil {
				return err
			}
		} else {
			delete(stored, field)
		}
	}
	if left := slices.Collect(maps.Keys(stored)); len(left) > 0 {
		if err := w.db.HDel(ctx, sinceKey, left...).Err(); err != nil {
			return err
		}
	}
	if len(tracked) == 0 {
		w.broken = time.Time{}
		return nil
	}
	c, err := w.o.Channel(ctx, "")
	if err != nil {
		return err
	}
	repeats := w.o.Repeats("")
	switch {
	case sound(c, now) && now.Sub(c.Gap) > proofLag:
		w.broken = time.Time{}
	case w.broken.IsZero():
		w.broken = now
	case now.Sub(w.broken) > repeats:
		return w.begin(ctx, tracked, ms)
	}
	return nil
}

// begin lets the time for which numbers are tracked begin anew.
func (w *Windows) begin(ctx context.Context, numbers []string, ms int64) error {
	var fields []any
	for _, number := range numbers {
		fields = append(fields, w.field(number), ms)
	}
	if len(fields) == 0 {
		return nil
	}
	return w.db.HSet(ctx, sinceKey, fields...).Err()
}

// Lost lets the tracked numbers of a shard begin anew, because its Redis lost writes: what opened windows may be among them.
func (w *Windows) Lost(ctx context.Context, shard message.Shard) error {
	var lost []string
	for _, number := range w.o.Numbers() {
		if w.Tracked(number) && w.o.Shards.Of(number) == shard {
			lost = append(lost, number)
		}
	}
	return w.begin(ctx, lost, w.db.Clock(ctx, sinceKey).UnixMilli())
}
