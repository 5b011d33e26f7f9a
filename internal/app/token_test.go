package app_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
)

// TestARefusedTokenShowsAtOnce: when Meta refuses a message because of its access token, the metric says so without
// waiting for the next question about the token.
func TestARefusedTokenShowsAtOnce(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	api := "http://" + startProducer(t, srv.URL(), "").Addr()
	sim := graphsim.New(graphsim.Options{Token: "token", Rate: 80})
	meta := httptest.NewServer(sim.Handler())
	t.Cleanup(meta.Close)
	p, err := app.NewWorker(t.Context(), config.Worker{
		Common: config.Common{
			Environment: "test", Shards: int(message.DefaultShards), Ops: "127.0.0.1:0", Numbers: []config.Number{{ID: number, Rate: 80}},
			Redis: config.Redis{URL: config.Secret(srv.URL())}, Graph: config.Graph{BaseURL: meta.URL, Version: "v25.0"},
		},
		Roles: []string{config.RoleSend}, MarkerKey: "0123456789abcdef", Tokens: config.FixedTokens(map[string]string{number: "token"}),
		Retry: config.Retry{Base: time.Second, Max: time.Minute, Attempts: 5},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	run(t, p)
	shows := func(value string) func() bool {
		return func() bool {
			resp, err := http.Get("http://" + p.OpsAddr() + "/metrics")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			page, err := io.ReadAll(resp.Body)
			return err == nil && strings.Contains(string(page), `sluice_token_expiry_timestamp_seconds{phone_number_id="`+number+`"} `+value+"\n")
		}
	}
	poll.Until(t, "Meta says that the token does not expire", shows("+Inf"))
	if err := sim.SetAccount(graphsim.Account{Token: graphsim.Token{Value: "token", Revoked: true}}); err != nil {
		t.Fatal(err)
	}
	call(t, "POST", api+"/v1/messages", fmt.Sprintf(`{"from":%q,"message":{"to":"+15551234567","type":"text","text":{"body":"hi"}}}`, number), 202)
	poll.Until(t, "the metric says that the token is not valid", shows("0"))
}
