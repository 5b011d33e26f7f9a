package send

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/message"
)

// TestReports: what Meta reports of messages that it took holds as its refusals do.
func TestReports(t *testing.T) {
	t.Parallel()
	type step struct {
		code     int // 0: a success
		template string
		wait     time.Duration
		want     string
	}
	const sent = 0
	for name, steps := range map[string][]step{
		"two in a row, and longer each time": {
			{131042, "", 0, ""},
			{131042, "", 0, "probe by status 33s, hold \"\" 131042 3s"},
			{131042, "", time.Second, ""}, // it was under way
			{131042, "", 3 * time.Second, "probe by status 36s, hold \"\" 131042 6s"},
			{sent, "", 7 * time.Second, "recovered by status"},
			{131042, "", 0, ""},
			{131042, "", 0, "probe by status 33s, hold \"\" 131042 3s"},
		},
		"a success between them": {
			{131042, "", 0, ""},
			{sent, "", 0, ""},
			{131042, "", 0, ""},
			{sent, "", 0, ""},
		},
		"more than a minute between them": {
			{131042, "", 0, ""},
			{131042, "", 61 * time.Second, ""},
		},
		"a portfolio at its limit": {
			{131048, "full/en", 0, ""}, {131048, "full/en", 0, ""}, {131048, "full/en", 0, ""},
		},
		"people": {
			{131026, "", 0, ""}, {131049, "", 0, ""}, {131047, "", 0, ""}, {131026, "", 0, ""}, {131026, "", 0, ""}, {131026, "", 0, ""},
		},
		"a template": {
			{132015, "a/en", 0, ""},
			{132015, "b/en", 0, ""},
			{132015, "", 0, ""},
			{132015, "", 0, ""},
			{132015, "", 0, ""},
			{132015, "a/en", 0, "hold \"a/en\" 132015 30m0s"},
			{sent, "b/en", 0, ""},
			{132015, "b/en", 0, ""},
			{sent, "a/en", 31 * time.Minute, "template accepted a/en"},
		},
		"unknown codes": {
			{987654, "", 0, ""},
			{987654, "", 0, ""},
			{987654, "", 0, ""},
			{987654, "", 0, ""},
			{987654, "", 0, "probe by status 33s, hold \"\" 987654 3s"},
		},
		"unknown codes of a template": {
			{987654, "a/en", 0, ""},
			{987654, "a/en", 0, ""},
			{987654, "a/en", 0, ""},
			{987654, "a/en", 0, ""},
			{987654, "a/en", 0, "hold \"a/en\" 987654 3s"},
			{987654, "a/en", 0, ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r, n := newReports()
				for i, s := range steps {
					time.Sleep(s.wait)
					n.said = nil
					// What was reported before says nothing of now.
					r.Note(t.Context(), message.MarkedReport{StatusReport: message.StatusReport{Number: "1", Status: "read"}, Template: s.template})
					status := "failed"
					if s.code == sent {
						status = "delivered"
					}
					r.Note(t.Context(), message.MarkedReport{
						StatusReport: message.StatusReport{Number: "1", Status: status, Code: s.code}, Template: s.template, First: true,
					})
					if got := n.String(); got != s.want {
						t.Errorf("%d, after %+v: %q, want %q", i, s, got, s.want)
					}
				}
			})
		})
	}
}

// newReports returns Reports in which 987654 is unknown, and what they do.
func newReports() (*Reports, *notes) {
	n := &notes{}
	return &Reports{
		Full:    func(_ context.Context, e message.MarkedReport) bool { return e.Template == "full/en" },
		Backoff: func(n int) time.Duration { return time.Duration(n) * 3 * time.Second },
		Rates:   n, Hold: n.hold, Log: slog.New(slog.DiscardHandler),
		Means: func(code int) message.Outcome {
			out := message.Outcome{Kind: message.Held, Code: code, Hold: message.HoldNumber}
			switch code {
			case 132015:
				out.Hold, out.RetryAfter = message.HoldTemplate, 30*time.Minute
			case 131026, 131047, 131049:
				out.Kind, out.Hold = message.Refused, ""
			case 987654:
				out.Kind, out.Hold, out.Unknown = message.Refused, "", true
			}
			return out
		},
		TemplateAccepted: func(_ context.Context, _, template string) { n.note("template accepted %s", template) },
	}, n
}

// TestReportsOfMessagesSentBeforeTheHold: only messages that were sent after a hold began show whether its cause is gone.
func TestReportsOfMessagesSentBeforeTheHold(t *testing.T) {
	t.Parallel()
	for _, template := range []string{"", "a/en"} {
		synctest.Test(t, func(t *testing.T) {
			code, again, want := 131042, "probe by status 36s, hold \"\" 131042 6s", "recovered by status"
			if template != "" {
				code, again, want = 132015, "hold \"a/en\" 132015 30m0s", "template accepted a/en"
			}
			r, n := newReports()
			note := func(status string, code int, age time.Duration) string {
				n.said = nil
				r.Note(t.Context(), message.MarkedReport{
					StatusReport: message.StatusReport{Number: "1", Status: status, Code: code}, Template: template, First: true, Age: age,
				})
				return n.String()
			}
			note("failed", code, time.Second)
			if note("failed", code, time.Second) == "" {
				t.Fatal("no hold")
			}
			time.Sleep(31 * time.Minute)
			if got := note("sent", 0, 32*time.Minute); got != "" {
				t.Errorf("after the status of a message that was sent before the hold: %s", got)
			}
			if got := note("failed", code, 32*time.Minute); got != "" {
				t.Errorf("after the failure of a message that was sent before the hold: %s", got)
			}
			if got := note("failed", code, time.Minute); got != again {
				t.Errorf("after a failure: %q, want %q", got, again)
			}
			time.Sleep(31 * time.Minute)
			if got := note("sent", 0, time.Minute); got != want {
				t.Errorf("after the status of a message that was sent after the hold: %q, want %q", got, want)
			}
		})
	}
}

// notes is rates and holds that note what was said.
type notes struct{ said []string }

func (n *notes) note(format string, args ...any) {
	n.said = append(n.said, fmt.Sprintf(format, args...))
}

func (n *notes) String() string {
	all := ""
	for i, s := range slices.All(n.said) {
		if i > 0 {
			all += ", "
		}
		all += s
	}
	return all
}

func (n *notes) hold(_ context.Context, _, template string, out message.Outcome, d time.Duration) error {
	n.note("hold %q %d %s", template, out.Code, d)
	return nil
}

func (n *notes) ProbeStatus(_ context.Context, _ string, d time.Duration) error {
	n.note("probe by status %s", d)
	return nil
}

func (n *notes) StatusRecovered(context.Context, string) error {
	n.note("recovered by status")
	return nil
}
