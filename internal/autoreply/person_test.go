package autoreply_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/autoreply"
	"sluice/internal/config"
	"sluice/internal/message"
)

// TestOfPerson: that a person wrote and was answered is found and forgotten, and what is known of others stays.
func TestOfPerson(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.begin(&config.AutoReply{APIKey: "bot", Welcome: "Welcome!"})
	for range 2 {
		w.writes("15550000001", "hello")
		w.writes("15550000002", "hello")
		w.handled()
	}
	r := autoreply.New(w.db, autoreply.Options{Shards: shards, Numbers: func() []string { return []string{number, other} }, Registerer: prometheus.NewRegistry()})
	who := message.PersonNames{Hashes: []string{hash("+15550000001")}}
	for i, want := range []int{1, 1, 0} {
		all, err := r.OfPerson(t.Context(), who, i == 1)
		if err != nil || len(all) != want || want > 0 && all[0].Number != number {
			t.Errorf("%+v, %v, want %d", all, err, want)
		}
	}
	w.writes("15550000001", "hello")
	w.writes("15550000002", "hello")
	w.handled()
	w.check("+15550000001", "Welcome!", "Welcome!")
	w.check("+15550000002", "Welcome!")
}
