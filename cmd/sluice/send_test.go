package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestSendWait: --wait prints each step and, while nothing happens, what the message waits for; the error says why
// it was not delivered.
func TestSendWait(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		steps  []string // answered one after the other; the last one again and again
		prints []string
		fails  string
	}{
		"delivered": {
			[]string{`"queued"`, `"queued"`, `"submitted"`, `"delivered"`},
			[]string{"queued", "waits (hold): It is held, on number 1: token.", "submitted", "delivered"},
			"",
		},
		"failed": {[]string{`"queued"`, `"failed"`}, []string{
			"queued", "failed", "Meta: Undeliverable", "Meta's code: 131026\n", "advice: Ask.", "Meta's message: (#131026) Oops", "Meta's details: Not on WhatsApp",
			"error_subcode: 7\n", "fbtrace_id: Az8",
		}, "the message is failed: Meta took the message"},
		"parked":    {[]string{`"parked"`}, []string{"parked"}, "the message is parked: "},
		"too long":  {[]string{`"queued"`}, []string{"queued", "waits (hold)"}, "not settled within"},
		"no answer": {nil, nil, "503"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked := 0
			ctx, cancel := context.WithCancelCause(t.Context())
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/explain") {
					fmt.Fprint(w, `{"state":"queued","rule":"hold","detail":"It is held, on number 1: token."}`)
					return
				}
				if len(tt.steps) == 0 {
					w.WriteHeader(503)
					return
				}
				asked++
				var timeline []string
				for i, s := range tt.steps[:min(asked, len(tt.steps))] {
					if i == 0 || s != tt.steps[i-1] {
						timeline = append(timeline, `{"at":"2026-01-31T15:04:05Z","state":`+s+`}`)
					}
				}
				state := tt.steps[min(asked, len(tt.steps))-1]
				if asked == 5 {
					cancel(errors.New("not settled within 1s"))
				}
				fmt.Fprintf(w, `{"id":"x","state":%s,"final":%v,"error":{"code":131026,"title":"Undeliverable","advice":"Ask.","message":"(#131026) Oops","details":"Not on WhatsApp","error_subcode":7,"fbtrace_id":"Az8"},"timeline":[%s]}`, state, state == `"failed"`, strings.Join(timeline, ","))
			}))
			defer api.Close()
			var out strings.Builder
			err := follower{once(api.URL, "k"), &out, time.Nanosecond, 0}.follow(ctx, "x")
			if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("error %v, want %q", err, tt.fails)
			}
			rest := out.String()
			for _, p := range tt.prints {
				_, after, found := strings.Cut(rest, p)
				if !found {
					t.Fatalf("it prints %q, want %q in this order", out.String(), tt.prints)
				}
				rest = after
			}
		})
	}
}
