package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sluice/internal/backlog"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/store"
)

// A number without a configured rate limit sends as fast as Meta allows, and faster when Meta reports an
// upgrade.
func TestUpgradeRaisesThePace(t *testing.T) {
	t.Parallel()
	var account graphsim.Account
	for _, id := range numbers {
		account.Numbers = append(account.Numbers, graphsim.Number{ID: id, Throughput: "STANDARD"})
	}
	w := setup(t, 0, graphsim.Options{Account: account})
	db, err := store.Open(t.Context(), w.redis.url)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	reader := backlog.New(db, message.DefaultShards, func(string) int { return 1 })
	w.worker()
	await := func(rate float64) {
		t.Helper()
		poll.Until(t, fmt.Sprint("the rate is ", rate), func() bool {
			got, err := reader.Read(t.Context(), numbers[0])
			return err == nil && got.Full == rate && got.Goal() == rate
		})
	}
	await(80)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, w.graph+"/_sim/numbers/"+numbers[0], strings.NewReader(`{"throughput":"HIGH"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	await(1000)
}
