package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// TestOptOut: people stop marketing messages in four ways, one of them amid 500 messages a second from others. Messages that wait in the
// queue, and new ones, are not sent to them; one-time codes are. When they start again they get messages again.
func TestOptOut(t *testing.T) {
	t.Parallel()
	w := setup(t, 1000, graphsim.Options{}, "secrets_key_file: marker")
	first := w.worker()
	w.worker()
	number := numbers[0]
	send := func(to string, class client.Class) (string, error) {
		a, err := w.api.Send(t.Context(), client.Message{From: number, Class: class, Content: client.Text("+"+to, "Hello")})
		return a.ID, err
	}
	const word, button, refused, feed, other = "15551230001", "15551230002", "99999131050", "15551230004", "15551230005"
	// Meta reports of a person with 131050 that the person stopped: the message is the first that the person gets.
	asked, err := send(refused, client.ClassMarketing)
	if err != nil {
		t.Fatal(err)
	}
	w.settled([]string{asked}, func(r client.Record) bool { return r.State == client.StateFailed })
	// The messages wait in the queue while the people opt out.
	w.operate("POST", "/v1/holds", fmt.Sprintf(`{"phone_number_id":%q,"actor":"anna","reason":"test"}`, number))
	var waiting, codes []string
	for _, to := range []string{word, button, feed, other} {
		for _, class := range []client.Class{client.ClassMarketing, client.ClassAuthentication} {
			id, err := send(to, class)
			if err != nil {
				t.Fatal(err)
			}
			if class == client.ClassMarketing {
				waiting = append(waiting, id)
			} else {
				codes = append(codes, id)
			}
		}
	}
	for range 5 { // in a second or less
		w.simulate("POST", "inbound", fmt.Sprintf(`{"from":"15559990000","to":%q,"text":"hello","count":100}`, number))
	}
	w.simulate("POST", "inbound", fmt.Sprintf(`{"from":%q,"to":%q,"text":" Stop. "}`, word, number))
	w.simulate("POST", "preferences", fmt.Sprintf(`{"from":%q,"to":%q,"value":"stop"}`, button, number))
	w.suppress("", feed)
	// A message in the queue is suppressed at once, a new one too.
	for to, source := range map[string]string{word: "keyword", button: "user_preferences", refused: "meta_error", feed: "api"} {
		poll.Until(t, to+" is in the list", func() bool { return w.suppressed(to) == source })
		_, err := send(to, client.ClassMarketing)
		if p, is := errors.AsType[*client.Problem](err); !is || p.Status != http.StatusConflict || p.Code != "recipient_suppressed" || p.Errors[0].Path != "message.to" {
			t.Errorf("a new message to %s: %v", to, err)
		}
	}
	first.kill()
	w.operate("POST", "/v1/holds/release", fmt.Sprintf(`{"phone_number_id":%q,"actor":"anna","reason":"test"}`, number))
	records := w.settled(append(waiting, codes...), over)
	for i, id := range waiting {
		want, reason := client.StateCancelled, "suppressed"
		if i == 3 {
			want, reason = client.StateDelivered, ""
		}
		if r := records[id]; r.State != want || r.Reason != reason || want == client.StateCancelled && r.Attempt != 0 {
			t.Errorf("message %d is %s: %s, attempt %d", i, r.State, r.Reason, r.Attempt)
		}
	}
	for _, id := range codes {
		if r := records[id]; r.State != client.StateDelivered {
			t.Errorf("a one-time code is %s: %s", r.State, r.Reason)
		}
	}
	// Times of Meta have seconds: the next word must not be of the same second as the first one.
	stopped := time.Now().Unix()
	poll.Until(t, "the next second", func() bool { return time.Now().Unix() > stopped })
	w.simulate("POST", "inbound", fmt.Sprintf(`{"from":%q,"to":%q,"text":"START"}`, word, number))
	w.simulate("POST", "preferences", fmt.Sprintf(`{"from":%q,"to":%q,"value":"resume"}`, button, number))
	var again []string
	for _, to := range []string{word, button} {
		poll.Until(t, to+" may get marketing messages again", func() bool {
			id, err := send(to, client.ClassMarketing)
			if err == nil {
				again = append(again, id)
			}
			return err == nil
		})
	}
	for id, r := range w.settled(again, over) {
		if r.State != client.StateDelivered {
			t.Errorf("%s is %s: %s", id, r.State, r.Reason)
		}
	}
}

// suppress adds a person to the suppression list of a client.
func (w *world) suppress(name, to string) {
	w.t.Helper()
	in := map[string]string{"recipient": "+" + to, "reason": "test"}
	if name != "" {
		in["client"] = name
	}
	if err := w.api.Call(w.t.Context(), http.MethodPost, "/v1/suppressions", in, nil); err != nil {
		w.t.Fatal(err)
	}
}

// suppressed returns how a person came into the suppression list of the numbers without a client; empty: the person is not in it.
func (w *world) suppressed(to string) string {
	w.t.Helper()
	var entry struct{ Source string }
	err := w.api.Call(w.t.Context(), http.MethodPost, "/v1/suppressions/show", map[string]string{"recipient": "+" + to}, &entry)
	if p, is := errors.AsType[*client.Problem](err); is && p.Code == "suppression_not_found" {
		return ""
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return entry.Source
}
