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
			{131042, "", 0, "probe 33s, hold \"\" 131042 3s"},
			{131042, "", time.Second, ""}, // it was under way
			{131042, "", 3 * time.Second, "probe 36s, hold \"\" 131042 6s"},
			{sent, "", 7 * time.Second, "recovered"},
			{131042, "", 0, ""},
			{131042, "", 0, "probe 33s, hold \"\" 131042 3s"},
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
			{987654, "", 0, "probe 33s, hold \"\" 987654 3s"},
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
				n := &notes{}
				r := &Reports{
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
				}
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

func (n *notes) Throttled(context.Context, string) (bool, error)    { return false, nil }
func (n *notes) Pause(context.Context, string, time.Duration) error { return nil }
func (n *notes) Probe(_ context.Context, _ string, d time.Duration) error {
	n.note("probe %s", d)
	return nil
}
func (n *notes) Recovered(context.Context, string) error { n.note("recovered"); return nil }
