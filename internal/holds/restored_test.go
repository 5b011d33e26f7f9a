package holds_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sluice/internal/holdpolicy"
	"sluice/internal/holds"
	"sluice/internal/message"
)

// TestARestoredShardIsHeldWhateverHoldThereIs: the hold after a restore replaces any other, shows its reason, and ends
// only when an operator releases it.
func TestARestoredShardIsHeldWhateverHoldThereIs(t *testing.T) {
	t.Parallel()
	const account = "500"
	for name, before := range map[string]*message.Hold{
		"none":             nil,
		"automatic":        {Number: phone, Reason: "Access token has expired", Code: 190, By: holdpolicy.BySluice},
		"automatic, timed": {Number: phone, Reason: "Access token has expired", By: holdpolicy.BySluice, Until: time.Now().Add(time.Hour)},
		"of an operator":   {Number: phone, Reason: "quality", By: "anna"},
		"over":             {Number: phone, Reason: "quality", By: "anna", Until: time.Now().Add(-time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			db, hs, _ := setup(t)
			if before != nil {
				if _, err := hs.Set(ctx, *before); err != nil {
					t.Fatal(err)
				}
			}
			accounts := holds.NewAccounts(db)
			if err := accounts.Note(ctx, phone, account); err != nil {
				t.Fatal(err)
			}
			p := holdpolicy.New(holdpolicy.Options{
				Holds: hs, Accounts: accounts, Numbers: func() []string { return []string{phone} }, Shards: shards,
				Working: func(context.Context, message.Shard) ([]string, error) { return nil, nil },
				Log:     slog.New(slog.DiscardHandler),
			})
			var last message.Hold
			check := func(when string) {
				t.Helper()
				list, err := hs.List(ctx)
				if err != nil || len(list) != 1 || list[0].By != holdpolicy.ByRestore || !list[0].Until.IsZero() {
					t.Fatalf("%s: %+v, %v", when, list, err)
				}
				last = list[0]
			}
			for range 2 { // it is called again after an error, and by other workers
				if err := p.Restored(ctx, shards.Of(phone), time.Minute); err != nil {
					t.Fatal(err)
				}
				check("after the restore")
				inForce := before != nil && (before.Until.IsZero() || before.Until.After(time.Now()))
				if got := strings.Count(last.Reason, "before: "); got > 1 || (got == 1) != inForce || inForce && !strings.Contains(last.Reason, before.Reason) {
					t.Errorf("the reason is %q", last.Reason)
				}
			}
			reconnected := message.Event{Field: "account_update", WABA: account, Meta: []byte(`{"event":"ACCOUNT_RECONNECTED"}`)}
			if err := p.NewToken(ctx, phone); err != nil {
				t.Error(err)
			}
			if err := p.Update(ctx, reconnected); err != nil {
				t.Error(err)
			}
			if err := p.Refused(ctx, phone, "", message.Outcome{Code: 190}, time.Minute); err != nil {
				t.Error(err)
			}
			check("after a token, an announcement and a refusal")
			if ok, err := hs.Release(ctx, message.Hold{Number: phone, By: "anna", Reason: "compared"}); !ok || err != nil {
				t.Errorf("released: %t, %v", ok, err)
			}
			if list, err := hs.List(ctx); err != nil || len(list) != 0 {
				t.Errorf("after its release: %+v, %v", list, err)
			}
		})
	}
}
