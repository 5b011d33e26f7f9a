package e2e

import (
	"fmt"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// TestQuietHours: when the quiet hours of a number begin, neither a new marketing message nor the retry of an earlier one is sent, and
// each says why it waits. A one-time code to the same person is sent. When the quiet hours are removed, what waits is sent.
func TestQuietHours(t *testing.T) {
	t.Parallel()
	w := setup(t, 200, graphsim.Options{})
	w.worker()
	w.worker()
	number := numbers[0]
	send := func(to string, class client.Class) string {
		t.Helper()
		a, err := w.api.Send(t.Context(), client.Message{From: number, Class: class, Content: client.Text("+"+to, "Hello")})
		if err != nil {
			t.Fatal(err)
		}
		return a.ID
	}
	retried := send("99999131056", client.ClassMarketing) // Meta refuses it for some seconds, always
	poll.Until(t, "an attempt", func() bool {
		r, err := w.api.Get(t.Context(), retried)
		return err == nil && r.Attempt > 0
	})
	now := time.Now().UTC()
	begin, end := now.Add(-time.Hour), now.Add(2*time.Hour).Truncate(time.Minute)
	w.change("/v1/numbers", fmt.Sprintf(`"phone_number_id":%q,"rate_limit":200,"quiet_hours":[{"from":%q,"to":%q,"time_zone":"UTC"}]`,
		number, begin.Format("15:04"), end.Format("15:04")))
	keeps := func(id string) bool {
		e, err := w.api.Explain(t.Context(), id)
		return err == nil && e.Rule == "quiet_hours" && e.Until.Equal(end)
	}
	poll.Until(t, "the retry waits", func() bool { return keeps(retried) })
	const person = "15551230001"
	fresh, code := send(person, client.ClassMarketing), send(person, client.ClassAuthentication)
	poll.Until(t, "the new message waits", func() bool { return keeps(fresh) })
	if r := w.settled([]string{code}, over)[code]; r.State != client.StateDelivered {
		t.Errorf("the one-time code is %s: %s", r.State, r.Reason)
	}
	if n := w.sim.Accepted(); len(n) != 1 {
		t.Errorf("Meta took %d messages, want the one-time code only", len(n))
	}
	stored := w.operate("GET", "/v1/numbers?phone_number_id="+number, "")["numbers"].([]any)[0].(map[string]any)
	w.change("/v1/numbers", fmt.Sprintf(`"phone_number_id":%q,"rate_limit":200,"revision":%.0f`, number, stored["revision"]))
	if r := w.settled([]string{fresh}, over)[fresh]; r.State != client.StateDelivered {
		t.Errorf("without quiet hours the message is %s: %s", r.State, r.Reason)
	}
}
