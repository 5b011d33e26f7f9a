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
		away := errors.New("NOREPLICAS Not enough good replicas to write.")
		for i := range 1500 {
			log.With("shard", i%16).Error("cannot record the outcome", "msg_id", i, "err", fmt.Errorf("finish %d: %w", i, away))
			if i%500 == 0 {
				log.Warn("held", "phone_number_id", i)
				log.Error("cannot read the holds", "err", away)
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

// While Redis is full everything that a program writes fails, each with a message of its own: that is one line a second
// altogether.
func TestAFullRedisIsLoggedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		log := ops.NewLogger(&out, slog.LevelInfo)
		for i := range 1500 {
			full := fmt.Errorf("OOM command not allowed when used memory > 'maxmemory'. script: %x, on @user_script:1.", 0xabcdef*i)
			log.Error(fmt.Sprintf("cannot do task %c", 'a'+i%20), "err", fmt.Errorf("task: %w", full))
			time.Sleep(2 * time.Millisecond)
		}
		if lines := strings.Count(out.String(), "\n"); lines != 3 {
			t.Errorf("%d lines in 3 s, want 3:\n%s", lines, &out)
		}
	})
}
