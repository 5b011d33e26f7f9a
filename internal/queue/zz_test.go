package queue

import (
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
)

func TestZZ(t *testing.T) {
	f := setup(t)
	j := newJournal()
	f.serve("w", j.handle, Number{ID: phone, Rate: 80})
	f.add(many(1, phone, message.Service)...)
	j.wait(t, 1)
	f.db.ConfigResetStat(t.Context())
	start := time.Now()
	for _, task := range many(3000, phone, message.Marketing) {
		f.add(task)
	}
	took := time.Since(start)
	for _, l := range strings.Split(f.db.Info(t.Context(), "commandstats").Val(), "\n") {
		if strings.Contains(l, "evalsha") || strings.Contains(l, "publish") {
			t.Log(l)
		}
	}
	t.Log(took, len(j.sent()))
}
