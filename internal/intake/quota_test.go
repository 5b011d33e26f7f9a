package intake

import (
	"context"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/message"
)

// fakeQuota lets a client have some messages.
type fakeQuota struct{ most, used, refused int }

func (q *fakeQuota) Take(_ context.Context, all []message.Message) ([]error, func([]int)) {
	refused := make([]error, len(all))
	for i := range all {
		if q.used == q.most {
			refused[i] = &message.QuotaError{Client: "acme", Quota: "per_day", Limit: q.most}
			q.refused++
			continue
		}
		q.used++
	}
	return refused, func(places []int) {
		for _, i := range places {
			if refused[i] == nil {
				q.used--
			} else {
				q.refused--
			}
		}
	}
}

func (q *fakeQuota) Used(_ context.Context, clients []string) (all []message.QuotaUse, err error) {
	for _, client := range clients {
		all = append(all, message.QuotaUse{Client: client, Quota: "per_day", Limit: q.most, Used: q.used, Refused: q.refused})
	}
	return all, nil
}

// fakeAccepted knows messages by their keys.
type fakeAccepted struct {
	acceptor
	known map[string]bool
}

func (f fakeAccepted) Repeats(_ context.Context, all []message.Message) ([]string, error) {
	ids := make([]string, len(all))
	for i, m := range all {
		if f.known[m.ID] {
			ids[i] = m.ID
		}
	}
	return ids, nil
}

func (f fakeAccepted) AcceptAll(_ context.Context, all []message.Message) []message.AcceptResult {
	results := make([]message.AcceptResult, len(all))
	for i, m := range all {
		results[i].Duplicate = f.known[m.ID]
		f.known[m.ID] = true
	}
	return results
}

// TestRepeatedBatchWithinQuota: a batch that repeats messages, in front of new ones, is accepted up to the quota: repeats take nothing.
func TestRepeatedBatchWithinQuota(t *testing.T) {
	t.Parallel()
	f, q := fakeAccepted{known: map[string]bool{}}, &fakeQuota{most: 5}
	in := &Intake{o: Options{Acceptor: f, Quotas: q}, metrics: newMetrics(nil)}
	batch := func(n int) (text string) {
		var all []message.Message
		for i := range n {
			all = append(all, message.Message{ID: fmt.Sprint(i), Key: fmt.Sprint(i), Client: "acme"})
		}
		for _, r := range in.acceptAll(t.Context(), all) {
			switch {
			case r.Err != nil:
				text += "x"
			case r.Duplicate:
				text += "="
			default:
				text += "+"
			}
		}
		return text
	}
	for _, c := range []struct {
		n    int
		want string
	}{{4, "++++"}, {7, "====+xx"}, {7, "=====xx"}} {
		if got := batch(c.n); got != c.want {
			t.Errorf("a batch of %d: %s, want %s", c.n, got, c.want)
		}
	}
	if q.used != 5 {
		t.Errorf("used %d of 5", q.used)
	}
	if counted := testutil.ToFloat64(in.metrics.quotas.WithLabelValues("per_day")); q.refused != 4 || counted != 4 {
		t.Errorf("refused %d, in the metric %v, want 4: the x of all batches", q.refused, counted)
	}
}
