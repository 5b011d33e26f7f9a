package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/poll"
)

// TestOptOut: people stop marketing messages in four ways. Messages that wait in the queue, and new ones, are not sent to them, also if a
// marketing template is sent with another class; one-time codes are. When they start again they get messages again. Events say so.
func TestOptOut(t *testing.T) {
	t.Parallel()
	w := setup(t, 1000, graphsim.Options{
		Token: "e2e-access-token", Account: graphsim.Account{Templates: []graphsim.Template{{Name: "sale", Category: "MARKETING"}, {Name: "code", Category: "AUTHENTICATION"}}},
	}, "secrets_key_file: marker")
	first := w.worker()
	w.worker()
	number := numbers[0]
	send := func(to string, class client.Class) (string, error) {
		a, err := w.api.Send(t.Context(), client.Message{From: number, Class: class, Content: client.Text("+"+to, "Hello")})
		return a.ID, err
	}
	w.known(number, "sale", client.ClassMarketing) // before a worker is killed: one that reads the templates then keeps others from it for 3 minutes
	w.known(number, "code", client.ClassAuthentication)
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
	listed := time.Now()
	poll.Until(t, "the workers know that the list has entries, which takes a second", func() bool { return time.Since(listed) > 3*time.Second })
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
	// Meta's category of a template counts, whatever class the request has.
	for template, want := range map[string]string{"sale": "recipient_suppressed", "code": ""} {
		content := fmt.Sprintf(`{"to":"+%s","type":"template","template":{"name":%q,"language":{"code":"en_US"}}}`, word, template)
		_, err := w.api.Send(t.Context(), client.Message{From: number, Class: client.ClassAuthentication, Content: json.RawMessage(content)})
		if p, _ := errors.AsType[*client.Problem](err); p != nil && p.Code != want || p == nil && (want != "" || err != nil) {
			t.Errorf("the template %s as a one-time code: %v", template, err)
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
	want := map[string]bool{
		"opted_out keyword ": true, "opted_out user_preferences ": true, "opted_out meta_error ": true, "opted_out api e2e": true, "opted_in keyword ": true, "opted_in user_preferences ": true,
	}
	got := map[string]bool{} // an event may come more than once
	for _, e := range w.optOuts() {
		got[e.Suppression.Change+" "+e.Suppression.Source+" "+e.Suppression.APIKey] = true
		if e.PhoneNumberID != number && e.Suppression.Source != "api" || strings.Contains(string(e.Raw), "555123") {
			t.Errorf("event %s", e.Raw)
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
	w.movesList(other)
}

// movesList exports the suppression list of the numbers without a client, and imports it again without a change, with one person more.
func (w *world) movesList(more string) {
	w.t.Helper()
	list, err := w.api.ExportSuppressions(w.t.Context(), "", "csv")
	if err != nil {
		w.t.Fatal(err)
	}
	defer list.Close()
	text, err := io.ReadAll(list)
	if err != nil {
		w.t.Fatal(err)
	}
	page, err := w.api.Suppressions(w.t.Context(), client.SuppressionQuery{})
	done, failed := w.api.ImportSuppressions(w.t.Context(), "", "text/csv", strings.NewReader(string(text)+"+"+more+"\n"))
	if n := len(page.Suppressions); err != nil || failed != nil || n == 0 || done.Added != 1 || done.Unchanged != n || done.Refused != 0 {
		w.t.Errorf("imported %+v of %d entries, %v, %v", done, n, err, failed)
	}
	changed, err := w.api.Unsuppress(w.t.Context(), client.SuppressionOrder{Recipient: more})
	if !changed || err != nil || w.suppressed(more) != "" {
		w.t.Errorf("removed: %t, %v", changed, err)
	}
}

// TestOptOutOfARunningCampaign: while a campaign is sent, and 500 messages a second come in, a part of its people writes STOP. From the moment
// at which a person is in the list, no further message goes to the person, also none that a worker has fetched already.
func TestOptOutOfARunningCampaign(t *testing.T) {
	t.Parallel()
	const people, rate, ticks = 300, 100, 20 // of a tenth of a second
	w := setup(t, rate, graphsim.Options{}, "secrets_key_file: marker")
	w.worker()
	w.worker()
	number := numbers[0]
	phone := func(i int) string { return fmt.Sprintf("1%d5550000%02d", 2+i/100, i%100) } // so that the masked ones differ
	messages := func(yield func(client.Message) bool) {
		for i := range people {
			if !yield(client.Message{From: number, Class: client.ClassMarketing, Content: client.Text("+"+phone(i), "Sale")}) {
				return
			}
		}
	}
	var ids []string
	for result, err := range w.api.SendBatch(t.Context(), messages) {
		if err != nil || result.Problem != nil {
			t.Fatal(result.Problem, err)
		}
		ids = append(ids, result.ID)
	}
	written := map[string]time.Time{} // when the people wrote STOP, by phone number
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for n := range ticks {
		<-tick.C
		w.simulate("POST", "inbound", fmt.Sprintf(`{"from":"15559990000","to":%q,"text":"hello","count":48}`, number))
		for _, i := range []int{w.sim.Stats().Accepted + 5*(n%8), people - 1 - n} { // one whose message is about to be sent, and one of the last
			if to := phone(min(i, people-1)); written[to].IsZero() {
				written[to] = time.Now()
				w.simulate("POST", "inbound", fmt.Sprintf(`{"from":%q,"to":%q,"text":"Stop"}`, to, number))
			}
		}
	}
	listed := map[string]time.Time{} // by masked recipient
	poll.Until(t, "all who wrote STOP are in the list", func() bool {
		for _, e := range w.optOuts() {
			if to := e.Suppression.Recipient; listed[to].IsZero() {
				listed[to] = e.Time()
			}
		}
		return len(listed) == len(written)
	})
	var took, late []time.Duration
	for to, at := range written {
		took = append(took, listed[message.Mask("+"+to)].Sub(at))
	}
	suppressed, fetched := 0, 0 // and those of them that a worker had fetched before
	for _, r := range w.settled(ids, over) {
		if r.Reason == "suppressed" {
			if suppressed++; r.Attempt > 0 {
				fetched++
			}
		} else if r.State != client.StateDelivered {
			t.Errorf("%s is %s: %s", r.ID, r.State, r.Reason)
		}
	}
	sent := 0
	for _, a := range w.sim.Accepted() {
		if _, said := written[a.To]; !said {
			continue
		}
		sent++
		if d := a.Start.Sub(listed[message.Mask("+"+a.To)]); d > 0 {
			late = append(late, d)
		}
	}
	slices.Sort(took)
	slices.Sort(late)
	t.Logf("%d people wrote STOP. From the message to the list: p50 %s, p99 %s. %d messages were suppressed, %d of them after they were fetched; %d left after that: %v",
		len(took), took[len(took)/2], took[len(took)*99/100], suppressed, fetched, len(late), late)
	if suppressed == 0 || suppressed+sent != len(written) {
		t.Errorf("of %d people %d got their message, and %d messages were suppressed", len(written), sent, suppressed)
	}
	// The event comes before the entry. A request that is being written when the entry is stored leaves.
	if len(late) > 0 && late[len(late)-1] > 2*time.Second {
		t.Errorf("a message left %s after its recipient was in the list", late[len(late)-1])
	}
}

// optOuts returns the events about who opted out or in.
func (w *world) optOuts() []client.Event {
	w.t.Helper()
	page, err := w.api.ReadEvents(w.t.Context(), client.EventOptions{From: "oldest", Types: []client.EventType{client.EventSuppression}, Limit: 1000}, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return page.Events
}

// suppress adds a person to the suppression list of a client.
func (w *world) suppress(name, to string) {
	w.t.Helper()
	if changed, err := w.api.Suppress(w.t.Context(), client.SuppressionOrder{Recipient: "+" + to, Client: name, Reason: "test"}); !changed || err != nil {
		w.t.Fatal(changed, err)
	}
}

// suppressed returns how a person came into the suppression list of the numbers without a client; empty: the person is not in it.
func (w *world) suppressed(to string) string {
	w.t.Helper()
	entry, err := w.api.Suppressed(w.t.Context(), "", "+"+to)
	if p, is := errors.AsType[*client.Problem](err); is && p.Code == "suppression_not_found" {
		return ""
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return entry.Source
}
