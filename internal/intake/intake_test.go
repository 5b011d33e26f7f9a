package intake_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

func TestRequestID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if r := b.do(t, "POST", "/v1/messages", envelope(""), withHeader("X-Request-Id", "a-1")); r.header.Get("X-Request-Id") != "a-1" {
		t.Errorf("the id of the request came back as %q", r.header.Get("X-Request-Id"))
	}
	one, two := b.post(t, envelope("")).header.Get("X-Request-Id"), b.post(t, envelope("")).header.Get("X-Request-Id")
	if one == "" || one == two {
		t.Errorf("made %q and %q", one, two)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if n := testutil.CollectAndCount(b.registry, "sluice_api_messages_total"); n != 6 {
		t.Errorf("%d series at the start, want all 6", n)
	}
	b.post(t, envelope(`,"key":"k"`))
	b.post(t, envelope(`,"key":"k"`))
	b.post(t, `{}`)
	b.do(t, "POST", "/v1/messages", "", withHeader("Authorization", "Bearer x"))
	b.eta = func(context.Context, string, message.Class) (time.Duration, error) { return 1000 * time.Hour, nil }
	b.post(t, envelope(""))
	b.eta = nil
	b.store.err = errors.New("away")
	b.post(t, envelope(""))
	want := `
# HELP sluice_api_messages_total Messages that callers sent to the API or wrote to the outbox, by result: accepted, duplicate, invalid, denied, deadline_unreachable, unavailable.
# TYPE sluice_api_messages_total counter
sluice_api_messages_total{result="accepted"} 1
sluice_api_messages_total{result="denied"} 1
sluice_api_messages_total{result="duplicate"} 1
sluice_api_messages_total{result="invalid"} 1
sluice_api_messages_total{result="unavailable"} 1
sluice_api_messages_total{result="deadline_unreachable"} 1
`
	if err := testutil.GatherAndCompare(b.registry, strings.NewReader(want), "sluice_api_messages_total"); err != nil {
		t.Error(err)
	}
	families, err := b.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "sluice_api_request_duration_seconds" && f.GetMetric()[0].GetHistogram().GetSampleCount() != 6 {
			t.Errorf("durations: %v", f)
		}
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	one, two := httpapi.NewToken(), httpapi.NewToken()
	if one == two || len(one) != len("sk_")+43 || !strings.HasPrefix(one, "sk_") {
		t.Errorf("tokens %q and %q", one, two)
	}
	// SHA-256 of "abc", from FIPS 180-2.
	if got := httpapi.HashToken("abc"); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("hash %s", got)
	}
}
