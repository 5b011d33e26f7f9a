package send_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/message"
)

// TestAcceptedLatency: what counts is the time since the message could be sent, and not the time in which it was held.
func TestAcceptedLatency(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		held    []message.Hold // during the first minute
		outcome message.Kind
		want    float64 // seconds; negative: nothing is observed
	}{
		"never held":        {nil, message.Accepted, 100 + 3},
		"not accepted":      {nil, message.Throttled, -1},
		"the number held":   {[]message.Hold{{Number: number}}, message.Accepted, 90 - 62 + 3},
		"everything held":   {[]message.Hold{{}}, message.Accepted, 90 - 62 + 3},
		"the template held": {[]message.Hold{{Number: number, Template: "sale/en"}}, message.Accepted, 90 - 62 + 3},
		"a tag held":        {[]message.Hold{{Tag: "spring"}}, message.Accepted, 90 - 62 + 3},
		"another template":  {[]message.Hold{{Number: number, Template: "sale/de"}}, message.Accepted, 100 + 3},
		"another number":    {[]message.Hold{{Number: "2"}}, message.Accepted, 100 + 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newScript()
				began := time.Now()
				s.inForce = func() ([]message.Hold, error) {
					switch age := time.Since(began); {
					case age > time.Minute:
						return nil, nil
					case age > 50*time.Second:
						return nil, errAway
					}
					return tt.held, nil
				}
				s.begin = func(token string) (message.Attempt, error) {
					a, err := going(token)
					a.Waited, a.Message.Tags = 100*time.Second, []string{"spring"}
					return a, err
				}
				s.post = func() message.Outcome {
					time.Sleep(3 * time.Second)
					return message.Outcome{Kind: tt.outcome, WAMID: "wamid.1"}
				}
				sender := s.sender(slog.New(slog.DiscardHandler))
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- sender.WatchHolds(ctx) }()
				time.Sleep(90 * time.Second)
				sender.Handle(ctx, id, 0, nil, s.nextSlot)
				stop()
				<-done
				families, err := s.reg.Gather()
				if err != nil {
					t.Fatal(err)
				}
				got := -1.
				for _, f := range families {
					if f.GetName() != "sluice_accepted_latency_seconds" {
						continue
					}
					for _, m := range f.GetMetric() {
						if h := m.GetHistogram(); h.GetSampleCount() == 1 && m.GetLabel()[0].GetValue() == string(message.Utility) {
							got = h.GetSampleSum()
						}
					}
				}
				if got != tt.want {
					t.Errorf("observed %v s, want %v", got, tt.want)
				}
			})
		})
	}
}
