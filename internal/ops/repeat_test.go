package ops_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/ops"
)

// A failure that comes 500 times a second is one line a second, which says how many were left out. Other failures, and
// lines without an error, are written each time.
func TestAFailureIsLoggedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		log := ops.NewLogger(&out, slog.LevelInfo)
		full := errors.New("OOM command not allowed when used memory > 'maxmemory'")
		for i := range 1500 {
			log.With("shard", i%16).Error("cannot record the outcome", "msg_id", i, "err", fmt.Errorf("finish %d: %w", i, full))
			if i%500 == 0 {
				log.Warn("held", "phone_number_id", i)
				log.Error("cannot read the holds", "err", full)
			}
			time.Sleep(2 * time.Millisecond)
		}
		counts, repeated := map[string]int{}, 0.
		for text := range strings.Lines(out.String()) {
			var line map[string]any
			if err := json.Unmarshal([]byte(text), &line); err != nil {
				t.Fatal(err)
			}
			counts[line["msg"].(string)]++
			n, _ := line["repeated"].(float64)
			repeated += n
		}
		for _, message := range []string{"cannot record the outcome", "cannot read the holds", "held"} {
			if counts[message] != 3 {
				t.Errorf("%d lines %q, want 3", counts[message], message)
			}
		}
		if repeated != 2*499 {
			t.Errorf("the lines say that %v were left out, want 998", repeated)
		}
	})
}
