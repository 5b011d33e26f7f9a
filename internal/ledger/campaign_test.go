package ledger_test

import (
	"fmt"
	"testing"

	"sluice/internal/message"
	"sluice/internal/store"
)

// TestCampaign: the counters of a campaign are those of the records, whatever happens to the messages, and the list of undelivered
// messages has those that ended so, until they are sent again or their records are deleted.
func TestCampaign(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		spring := message.Flow{Client: "acme", Campaign: "spring"}
		progress := func() (text string) {
			t.Helper()
			all, err := f.Campaigns(t.Context(), "acme")
			if err == nil {
				err = f.CampaignProgress(t.Context(), all)
			}
			if err != nil || len(all) != 1 || all[0].Flow != spring {
				t.Fatalf("campaigns %+v, %v", all, err)
			}
			taken := 0
			for _, n := range all[0].Taken {
				taken += n
			}
			for _, c := range all[0].Counts {
				text += fmt.Sprintf("%s %d %s %s %d; ", c.State, c.Code, c.Reason, c.Template, c.Count)
			}
			return text + fmt.Sprint("taken ", taken)
		}
		want := func(when, counts string, undelivered ...string) {
			t.Helper()
			if got := progress(); got != counts {
				t.Errorf("%s: %s, want %s", when, got, counts)
			}
			all, _, err := f.List(t.Context(), message.ListFilter{Flow: &spring, States: []message.State{message.Failed, message.Rejected}}, message.ListPosition{}, 10)
			if err != nil || len(all) != len(undelivered) {
				t.Fatalf("%s: undelivered %d, %v; want %v", when, len(all), err, undelivered)
			}
			for i := range all {
				if all[i].ID != undelivered[i] {
					t.Errorf("%s: undelivered %s, want %v", when, all[i].ID, undelivered)
				}
			}
		}
		var ids []string
		for i := range 4 {
			m := newMessage(fmt.Sprint("k", i))
			m.Client, m.Campaign = spring.Client, spring.Campaign
			m.Content.Type, m.Content.Template, m.Content.Language = "template", "offer", "en"
			if i == 3 { // of no campaign
				m.Campaign = ""
			}
			f.acceptedAs(m)
			f.acceptedAs(m) // the same key once more
			ids = append(ids, m.ID)
		}
		want("accepted", "queued 0  offer/en 3; taken 0")

		a := f.begun(ids[0], 0, "w/1")
		f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.0"})
		b := f.begun(ids[1], 0, "w/2")
		f.finished(b, message.Move{To: message.Rejected, Code: 131026})
		f.finished(f.begun(ids[3], 0, "w/3"), message.Move{To: message.Rejected, Code: 131026})
		want("outcomes", "queued 0  offer/en 1; rejected 131026  offer/en 1; submitted 0  offer/en 1; taken 1", ids[1])

		f.apply(report(ids[0], 1, "wamid.0", "delivered"), report(ids[0], 1, "wamid.0", "sent"))
		want("reports", "queued 0  offer/en 1; rejected 131026  offer/en 1; delivered 0  offer/en 1; taken 1", ids[1])

		f.apply(report(ids[1], 1, "wamid.1", "delivered")) // Meta took it after all
		want("late proof", "queued 0  offer/en 1; delivered 0  offer/en 2; taken 2")

		if _, err := f.Cancel(t.Context(), ids[2]); err != nil {
			t.Fatal(err)
		}
		all, _, err := f.List(t.Context(), message.ListFilter{Flow: &spring, States: []message.State{message.Cancelled}}, message.ListPosition{}, 10)
		if err != nil || len(all) != 1 || all[0].ID != ids[2] {
			t.Errorf("cancelled %+v, %v", all, err)
		}
		if _, err := f.Forget(t.Context(), ids[2]); err != nil {
			t.Fatal(err)
		}
		if n := f.db.ZCard(t.Context(), store.Key(f.shard, "campaign:undelivered:acme/spring")).Val(); n != 0 {
			t.Errorf("%d undelivered messages without a record", n)
		}
		want("deleted", "cancelled 0 by_caller offer/en 1; delivered 0  offer/en 2; taken 2")
	})
}
