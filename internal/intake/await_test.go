package intake_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/intake"
	"sluice/internal/message"
)

// follower stores nothing. From a time on, its records are in state.
type follower struct {
	nothing
	from  time.Time
	state message.Record
	polls atomic.Int32 // round trips
}

func (f *follower) Progress(_ context.Context, ids []string) ([]message.Record, error) {
	f.polls.Add(1)
	all := make([]message.Record, len(ids))
	for i := range all {
		all[i].State = message.Queued
		if !time.Now().Before(f.from) {
			all[i] = f.state
		}
	}
	return all, nil
}

// waiting posts n messages with wait=submitted. The answers come through the channel.
func waiting(f *follower, n int) <-chan *httptest.ResponseRecorder {
	serve := direct(intake.Options{Acceptor: f, Reader: f})
	answers := make(chan *httptest.ResponseRecorder, n)
	for range n {
		go func() { answers <- serve("POST", "/v1/messages?wait=submitted", envelope("")) }()
	}
	return answers
}

func TestWaitForSubmitted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		after time.Duration // when the record gets the state
		state message.Record
		by    time.Duration // when the answer must have come
		want  string
	}{
		"submitted": {300 * time.Millisecond, message.Record{State: message.Submitted, WAMID: "wamid.x", Attempt: 1}, 500 * time.Millisecond, `"wamid":"wamid.x"`},
		"rejected":  {300 * time.Millisecond, message.Record{State: message.Rejected, Code: 131009}, 500 * time.Millisecond, `"code":131009`},
		"parked":    {9 * time.Second, message.Record{State: message.Parked, Reason: message.ReasonNoAnswer}, 9600 * time.Millisecond, `"reason":"no_answer"`},
		"in doubt":  {time.Second, message.Record{State: message.InDoubt, Reason: message.ReasonNoAnswer}, 10 * time.Second, `"state":"in_doubt"`},
		"never":     {time.Hour, message.Record{}, 10 * time.Second, `"state":"queued"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &follower{from: time.Now().Add(c.after), state: c.state}
				answers := waiting(f, 100)
				time.Sleep(c.by + time.Millisecond)
				synctest.Wait()
				if n := len(answers); n != 100 {
					t.Fatalf("%d answers", n)
				}
				for range 100 {
					w := <-answers
					if w.Code != http.StatusAccepted || !strings.Contains(w.Body.String(), c.want) || !json.Valid(w.Body.Bytes()) {
						t.Fatalf("%d %s, want %s", w.Code, w.Body, c.want)
					}
				}
				// A hundred callers share their round trips, whose pauses grow.
				if polls := f.polls.Load(); polls > 30 {
					t.Errorf("%d round trips", polls)
				}
				before := f.polls.Load()
				time.Sleep(time.Minute)
				if f.polls.Load() != before {
					t.Error("it polls without a caller")
				}
			})
		})
	}
}

func TestWaitForWhat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if r := b.do(t, "POST", "/v1/messages?wait=read", envelope(""), nil); r.status != 422 || r.problem(t).Code != "wait_invalid" {
		t.Errorf("%d %s", r.status, r.body)
	}
	if n := len(b.store.messages); n != 0 {
		t.Errorf("%d refused messages were stored", n)
	}
	// A stop of the server ends the wait of a caller.
	done := make(chan reply)
	go func() { done <- b.do(t, "POST", "/v1/messages?wait=submitted", envelope(""), nil) }()
	b.in.Stop()
	select {
	case r := <-done:
		if a := r.accepted(t); a.State != message.Queued {
			t.Errorf("%s", r.body)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the caller still waits")
	}
}
