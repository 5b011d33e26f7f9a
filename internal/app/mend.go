package app

import (
	"context"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
	"sluice/internal/send"
)

// bySluice is who orders the holds that Meta's answers ask for.
const bySluice = "sluice"

// byRestore is who orders the holds that only an operator releases.
const byRestore = "sluice: restored"

const (
	// tokensEvery is how often it is looked whether a token's file has changed: while its
	// number is held nothing is sent, and nobody else looks.
	tokensEvery = 5 * time.Second
	// expiryEvery is how often Meta is asked about the tokens.
	expiryEvery = time.Hour
)

// lift ends those automatic holds of which mended says that they may be over. What holds after
// all shows at the next message: the number still probes.
func (w *worker) lift(ctx context.Context, why string, mended func(message.Hold) bool) error {
	holds, err := w.holds.List(ctx)
	if err != nil {
		return err
	}
	for _, h := range holds {
		if h.By != bySluice || !mended(h) {
			continue
		}
		_, err := w.holds.Lift(ctx, message.Hold{Number: h.Number, Template: h.Template, Tag: h.Tag, By: bySluice, Reason: why})
		if err != nil {
			return err
		}
		w.log.Info("hold released", "target", h.On(), "reason", why)
	}
	return nil
}

// updated holds what Meta's webhooks say is not to be sent, and lifts what they say is mended: exactly
// the template, or the numbers of the account.
func (w *worker) updated(ctx context.Context, e message.Event) error {
	if cloudapi.Upgraded(e) {
		w.relearn()
		return nil
	}
	a, ok := cloudapi.Announced(e, time.Now())
	if !ok || e.WABA == "" {
		return nil
	}
	numbers, err := w.accounts.Numbers(ctx, e.WABA)
	if err != nil {
		return err
	}
	what := "the account"
	if a.Template != "" {
		what = "the template"
	}
	if !a.Hold {
		return w.lift(ctx, "Meta says that "+what+" may send again ("+a.Event+")", func(h message.Hold) bool {
			return h.Template == a.Template && slices.Contains(numbers, h.Number)
		})
	}
	for _, number := range numbers { // also one that this worker's configuration does not have yet, or no longer
		h := message.Hold{Number: number, Template: a.Template, Reason: "Meta says of " + what + ": " + a.Event, By: bySluice}
		if a.For > 0 {
			h.Until = time.Now().Add(a.For)
		}
		if a.Template != "" {
			h.Probe = send.ProbeFor
		} else if err := w.paces.Probe(ctx, number, a.For+send.ProbeFor); err != nil {
			return err
		}
		if _, err := w.holds.Set(ctx, h); err != nil {
			return err
		}
		w.log.Warn("hold set", "phone_number_id", number, "template", a.Template, "reason", h.Reason, "until", h.Until)
	}
	return nil
}

// met notes to which account a number belongs: Meta's announcements name accounts.
func (w *worker) met(ctx context.Context, number, account string) {
	if known, _ := w.belongs.Load(number); known == account {
		return
	}
	if err := w.accounts.Note(ctx, number, account); err != nil {
		w.log.Warn("cannot store the WhatsApp Business Account of a number, will retry", "phone_number_id", number, "err", err)
		return
	}
	w.belongs.Store(number, account)
}

// relearn lets learn ask Meta again. It does not wait for that: while Meta is slow to answer, what it
// reports is applied all the same.
func (w *worker) relearn() {
	select {
	case w.upgraded <- struct{}{}:
	default: // it will
	}
}

// learn asks Meta what numbers may send each time that relearn was called, until ctx ends.
func (w *worker) learn(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.upgraded:
			w.levels(ctx)
		}
	}
}

// levels learns what Meta lets those numbers send whose rate is not configured. A number about
// which Meta says nothing keeps what was known of it.
func (w *worker) levels(ctx context.Context) {
	rates := map[string]int{}
	for _, n := range w.c.Numbers {
		if !n.Learn {
			rates[n.ID] = 0
			continue
		}
		rate, err := w.graph.Throughput(ctx, n.ID)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			w.log.Warn("cannot read the throughput of a number from Meta", "phone_number_id", n.ID, "err", err)
		case rate > 0:
			rates[n.ID] = rate
		}
	}
	if err := w.paces.Levels(ctx, rates); err != nil && ctx.Err() == nil {
		w.log.Error("cannot store the throughput of the numbers", "err", err)
	}
}

// tokens watches the access tokens: a new one lifts the holds of its number, and Meta says when
// it ends.
type tokens struct {
	numbers []string
	token   func(number string) (string, error)
	ask     func(ctx context.Context, number string) (cloudapi.Token, error)
	lift    func(ctx context.Context, number string) error
	expiry  *prometheus.GaugeVec
	log     *slog.Logger

	last    map[string]string // by number
	answers map[string]answer // by token: thousands of numbers may share one
}

// answer is what Meta said of a token.
type answer struct {
	at    time.Time
	token cloudapi.Token
	err   error
}

func newExpiry(reg prometheus.Registerer) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "sluice_token_expiry_timestamp_seconds",
		Help: "Unix time at which the access token of the number expires, as Meta reports it. 0: the token is not valid. +Inf: it does not expire.",
	}, []string{"phone_number_id"})
	reg.MustRegister(g)
	return g
}

func (t *tokens) run(ctx context.Context) error {
	t.last, t.answers = map[string]string{}, map[string]answer{}
	tick := time.NewTicker(tokensEvery)
	defer tick.Stop()
	for {
		for _, number := range t.numbers {
			t.look(ctx, number)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (t *tokens) look(ctx context.Context, number string) {
	token, err := t.token(number)
	if err != nil || token == "" {
		return // said by whoever reads it
	}
	last, known := t.last[number]
	if known && token != last {
		t.log.Info("access token changed", "phone_number_id", number)
		if err := t.lift(ctx, number); err != nil {
			t.log.Error("cannot release the hold of a number with a new access token, will retry", "phone_number_id", number, "err", err)
			return
		}
	}
	t.last[number] = token
	got, err := t.about(ctx, number, token)
	switch {
	case err != nil: // what was known of it may still hold
	case !got.Valid:
		t.expiry.WithLabelValues(number).Set(0)
	case got.Expires.IsZero():
		t.expiry.WithLabelValues(number).Set(math.Inf(1))
	default:
		t.expiry.WithLabelValues(number).Set(float64(got.Expires.Unix()))
	}
}

// about asks Meta about the token of a number, once an hour for all numbers that have it.
func (t *tokens) about(ctx context.Context, number, token string) (cloudapi.Token, error) {
	if a, ok := t.answers[token]; ok && time.Since(a.at) < expiryEvery {
		return a.token, a.err
	}
	got, err := t.ask(ctx, number)
	t.answers[token] = answer{time.Now(), got, err}
	switch {
	case err != nil:
		t.log.Warn("cannot read from Meta when an access token expires", "phone_number_id", number, "err", err)
	case !got.Valid:
		t.log.Error("access token is not valid", "phone_number_id", number)
	}
	return got, err
}
