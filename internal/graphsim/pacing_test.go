package graphsim_test

import (
	"slices"
	"testing"

	"sluice/internal/graphsim"
)

// TestPacing: messages of a paced template are accepted and wait. When the pacing ends they are sent, and when the template is
// paused they are reported as failed.
func TestPacing(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change string
		want   []string
		code   int
	}{
		"it goes on":    {`{"paced":false}`, []string{"delivered", "delivered", "sent", "sent"}, 0},
		"it is dropped": {`{"status":"PAUSED"}`, []string{"delivered", "failed", "sent"}, 132015},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newReceiver(t)
			b := setup(t, graphsim.Options{
				Webhook: graphsim.Webhook{URL: r.URL, Secret: secret, Senders: 1},
				Account: graphsim.Account{App: graphsim.App{Fields: []string{"messages"}}, Templates: []graphsim.Template{{Name: "news", Paced: true}, {Name: "order"}}},
			})
			b.run()
			if a := b.send(`"to":"+16505551234",` + template("news")); a.Messages[0].Status != "held_for_quality_assessment" {
				t.Errorf("%+v", a)
			}
			if a := b.send(`"to":"+16505551234",` + template("order")); a.Messages[0].Status != "accepted" {
				t.Errorf("%+v", a)
			}
			b.drained()
			if got := statuses(r.received()); !slices.Equal(got, []string{"sent", "delivered"}) {
				t.Fatalf("while it is paced %q was reported", got)
			}
			b.do("PATCH", "/_sim/templates/news/en_US", c.change)
			b.drained()
			all := r.received()
			got := append(statuses(all), "sent", "delivered")
			if slices.Sort(got); !slices.Equal(got, c.want) {
				t.Errorf("reported %q, want %q", got, c.want)
			}
			if c.code != 0 && (len(all) != 1 || len(all[0].Errors) != 1 || all[0].Errors[0].Code != c.code) {
				t.Errorf("%+v", all)
			}
		})
	}
}
