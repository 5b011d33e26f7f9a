package intake_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/intake"
	"sluice/internal/message"
)

func TestStoreAway(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store.err = errors.New("connection refused")
	for _, r := range []reply{
		b.post(t, envelope(`,"key":"k"`)),
		b.do(t, "GET", "/v1/messages/"+message.NewID(ours, "k"), "", nil),
	} {
		if r.status != http.StatusServiceUnavailable || r.problem(t).Code != "store_unavailable" || r.header.Get("Retry-After") == "" {
			t.Errorf("%d %v %s", r.status, r.header, r.body)
		}
		if strings.Contains(r.body, "refused") {
			t.Errorf("the answer has an internal error text: %s", r.body)
		}
	}
	if log := b.log.String(); !strings.Contains(log, "connection refused") || strings.Contains(log, "5551234567") {
		t.Errorf("log: %s", log)
	}
}

// A store that hangs must not use up the time that the server has to answer.
func TestStoreHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		serve := direct(intake.Options{
			Acceptor: hanging{}, Reader: hanging{},
			ETA: func(ctx context.Context, _ string, c message.Class, _ message.Flow) (time.Duration, error) {
				if c == message.Utility { // a long wait, estimated just in time
					time.Sleep(400 * time.Millisecond)
					return 100 * time.Hour, nil
				}
				return 0, hang(ctx)
			},
		})
		for _, r := range [][3]string{
			{"POST", "/v1/messages", envelope("")},
			{"POST", "/v1/messages", envelope(`,"key":"k","class":"utility"`)},
			{"GET", "/v1/messages/" + message.NewID(ours, "k"), ""},
		} {
			start := time.Now()
			w := serve(r[0], r[1], r[2])
			if took := time.Since(start); w.Code != http.StatusServiceUnavailable || took > 5*time.Second {
				t.Errorf("%s: %d after %v", r[0], w.Code, took)
			}
		}
	})
}
