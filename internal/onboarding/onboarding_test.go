package onboarding_test

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/graphsim"
	"sluice/internal/onboarding"
)

const (
	account = "102290129340398"
	number  = "106540352242922"
	app     = "670843887433847"
	secret  = "the-app-secret"
)

// world is a simulator with a number that is not registered, and what Sluice knows of it.
type world struct {
	t     *testing.T
	sim   *graphsim.Sim
	token string
	saves int
	wait  func() // before each call of Meta
	base  string

	client              string // of the last request that was stored
	registrations, most int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	sim := graphsim.New(graphsim.Options{
		Webhook: graphsim.Webhook{URL: "https://sluice.example/webhooks/whatsapp/main", Secret: secret}, Account: atMeta(),
	})
	server := httptest.NewServer(sim.Handler())
	t.Cleanup(server.Close)
	return &world{t: t, sim: sim, wait: func() {}, base: server.URL, most: 100}
}

// atMeta is an account with a number that is not registered yet.
func atMeta() graphsim.Account {
	return graphsim.Account{
		Token:   graphsim.Token{Value: "the-business-token"},
		App:     graphsim.App{Unsubscribed: true, Code: "the-code"},
		Numbers: []graphsim.Number{{ID: number, Status: "PENDING", Platform: "NOT_APPLICABLE", PIN: "123456"}},
	}
}

// run runs the steps as a process that may end at any call.
func (w *world) run(ctx context.Context, q onboarding.Request) onboarding.Result {
	return w.onboarding().Run(ctx, q)
}

func (w *world) onboarding() *onboarding.Onboarding {
	return onboarding.New(onboarding.Options{
		Graph: func(token string) onboarding.Graph {
			return cloudapi.NewClient(cloudapi.Options{BaseURL: w.base, Token: func(string) (string, error) { w.wait(); return token, nil }})
		},
		App: func(name string) (string, bool) { return secret, name == "main" },
		Token: func(context.Context, string) (string, error) {
			if w.token == "" {
				return "", errors.New("no token")
			}
			return w.token, nil
		},
		Save: func(_ context.Context, q onboarding.Request, token string) error {
			w.client = q.Client
			if token != "" {
				w.token = token
				w.saves++
			}
			return nil
		},
		Note: func(context.Context, string, string) error { return nil },
		Want: func(ctx context.Context, _ string) error { w.wait(); return ctx.Err() },
		Examine: func(g cloudapi.Grant, n cloudapi.Number, _ int) []onboarding.Finding {
			if n.Quality == "RED" && g.Valid {
				return []onboarding.Finding{{Verdict: "warn", Check: "number quality", Says: "RED"}}
			}
			return nil
		},
		Registration: func(context.Context, string) (time.Duration, error) {
			if w.registrations++; w.registrations > w.most {
				return 3 * time.Hour, nil
			}
			return 0, nil
		},
	})
}

func request() onboarding.Request {
	return onboarding.Request{App: "main", AppID: app, Code: "the-code", Account: account, Number: number, PIN: "123456"}
}

func states(r onboarding.Result) (all []string) {
	for _, s := range r.Steps {
		all = append(all, s.Name+" "+string(s.State))
	}
	return all
}

func TestOneCallFromTheCodeToANumberThatCanSend(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	got := w.run(t.Context(), request())
	want := []string{"token done", "permissions before", "account before", "webhooks done", "callback before", "registration done", "templates done", "number done", "doctor done"}
	if !got.Ready || !slices.Equal(states(got), want) {
		t.Fatalf("%+v", got)
	}
	if w.token != "the-business-token" {
		t.Errorf("the stored access token is %q", w.token)
	}
	// Again, with the used code: nothing is done twice.
	got = w.run(t.Context(), request())
	want = []string{"token before", "permissions before", "account before", "webhooks before", "callback before", "registration before", "templates done", "number done", "doctor done"}
	if !got.Ready || !slices.Equal(states(got), want) {
		t.Errorf("%+v", got)
	}
}

// TestKilledAtEachCall: a run that ends at any call of Meta is repeated as it was, and the code is exchanged once.
func TestKilledAtEachCall(t *testing.T) {
	t.Parallel()
	for calls := 1; calls < 50; calls++ {
		w := newWorld(t)
		ctx, kill := context.WithCancel(t.Context())
		made := 0
		w.wait = func() {
			if made++; made == calls {
				kill()
			}
		}
		first := w.run(ctx, request())
		kill()
		if first.Ready && made < calls {
			if calls < 8 {
				t.Fatalf("a run makes %d calls", made)
			}
			return
		}
		w.wait = func() {}
		if again := w.run(t.Context(), request()); !again.Ready || w.saves != 1 {
			t.Errorf("ended at call %d, then %+v, and the token was stored %d times", calls, again, w.saves)
		}
	}
	t.Error("a run never ends without being killed")
}

// TestFailuresSayWhatToDo: each failure ends the run and names the fix, and nothing quotes a secret.
func TestFailuresSayWhatToDo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change    func(*world, *onboarding.Request)
		step, fix string
	}{
		"a used code":       {func(w *world, q *onboarding.Request) { w.run(t.Context(), *q); w.token = "" }, "token", "open the signup again"},
		"another code":      {func(_ *world, q *onboarding.Request) { q.Code = "another-code" }, "token", "open the signup again"},
		"no code, no token": {func(_ *world, q *onboarding.Request) { q.Code = "" }, "token", "within 30 s"},
		"an unknown app":    {func(_ *world, q *onboarding.Request) { q.App = "other" }, "token", "sluice apps add"},
		"no id of the app":  {func(_ *world, q *onboarding.Request) { q.AppID = "" }, "token", "send app_id"},
		"another account":   {func(_ *world, q *onboarding.Request) { q.Account = "1" }, "account", "answer of the signup"},
		"another number":    {func(_ *world, q *onboarding.Request) { q.Number = "106540352242999" }, "account", "answer of the signup"},
		"no PIN":            {func(_ *world, q *onboarding.Request) { q.PIN = "" }, "registration", "six digits"},
		"a wrong PIN":       {func(_ *world, q *onboarding.Request) { q.PIN = "654321" }, "registration", "PIN is wrong"},
		"a missing scope": {func(w *world, _ *onboarding.Request) {
			w.account(func(a *graphsim.Account) { a.Token.Scopes = []string{"whatsapp_business_messaging"} })
		}, "permissions", "both permissions"},
		"an unverified one": {func(w *world, _ *onboarding.Request) {
			w.account(func(a *graphsim.Account) { a.Numbers[0].CodeVerification = "NOT_VERIFIED" })
		}, "registration", "request a code"},
		"a locked account":                     {func(w *world, _ *onboarding.Request) { w.account(func(a *graphsim.Account) { a.Refuse = 131031 }) }, "number", "findings"},
		"too many registrations, counted here": {func(w *world, _ *onboarding.Request) { w.most = 0 }, "registration", "More tries do not help"},
		"eleven tries": {func(w *world, q *onboarding.Request) {
			q.PIN = "654321"
			for range 10 {
				w.run(t.Context(), *q)
			}
			q.PIN = "123456"
		}, "registration", "More tries do not help"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, q := newWorld(t), request()
			c.change(w, &q)
			got := w.run(t.Context(), q)
			last := got.Steps[len(got.Steps)-1]
			if got.Ready || last.Name != c.step || last.State != onboarding.Failed || !strings.Contains(last.Fix, c.fix) {
				t.Errorf("%+v", got)
			}
			for _, s := range got.Steps {
				for _, hidden := range []string{secret, "the-code", "another-code", "the-business-token", q.PIN} {
					if hidden != "" && strings.Contains(s.Says+s.Fix, hidden) {
						t.Errorf("step %s quotes %q: %s", s.Name, hidden, s.Says)
					}
				}
			}
		})
	}
}

// TestOfANumberWithAToken: the client of a request is stored though the number has an access token, and doctor's findings are in the
// answer.
func TestOfANumberWithAToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.token = "the-business-token"
	w.account(func(a *graphsim.Account) { a.Numbers[0].Quality = "RED" })
	q := request()
	q.Code, q.Client = "", "acme"
	got := w.run(t.Context(), q)
	if !got.Ready || w.client != "acme" || w.saves != 0 || len(got.Findings) != 1 || got.Findings[0].Check != "number quality" {
		t.Errorf("%+v, stored for %q, %d tokens", got, w.client, w.saves)
	}
}

// TestNoRegistrationAboveTheLimit: Meta is not asked for a registration or deregistration that it would refuse.
func TestNoRegistrationAboveTheLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.token, w.most = "the-business-token", 0
	for _, do := range []onboarding.Registration{{Action: onboarding.Register, PIN: "123456"}, {Action: onboarding.Deregister}} {
		if got := w.onboarding().Change(t.Context(), number, do); got.State != onboarding.Failed || !strings.Contains(got.Says, "in 3h0m0s") || !strings.Contains(got.Says, "Meta was not asked") {
			t.Errorf("%+v", got)
		}
	}
	w.most = 100
	if got := w.onboarding().Change(t.Context(), number, onboarding.Registration{Action: onboarding.Register, PIN: "123456"}); got.State != onboarding.Done {
		t.Errorf("the number was registered before: %+v", got)
	}
}

// account changes the account at Meta.
func (w *world) account(change func(*graphsim.Account)) {
	w.t.Helper()
	a := atMeta()
	change(&a)
	if err := w.sim.SetAccount(a); err != nil {
		w.t.Fatal(err)
	}
}

// TestRegistration: a number that must be verified first, step by step.
func TestRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.token = "the-business-token"
	w.account(func(a *graphsim.Account) { a.Numbers[0].CodeVerification, a.Numbers[0].PIN = "NOT_VERIFIED", "" })
	for _, c := range []struct {
		do    onboarding.Registration
		state onboarding.State
		fix   string
	}{
		{onboarding.Registration{Action: onboarding.Register, PIN: "123456"}, onboarding.Failed, "request a code"},
		{onboarding.Registration{Action: onboarding.RequestCode, Method: "SMS", Language: "en_US"}, onboarding.Done, ""},
		{onboarding.Registration{Action: onboarding.VerifyCode, Code: "987654"}, onboarding.Done, ""},
		{onboarding.Registration{Action: onboarding.Register}, onboarding.Failed, "six digits"},
		{onboarding.Registration{Action: onboarding.Register, PIN: "123456"}, onboarding.Done, ""},
		{onboarding.Registration{Action: onboarding.Register, PIN: "123456"}, onboarding.Before, ""},
		{onboarding.Registration{Action: onboarding.SetPIN, PIN: "222222"}, onboarding.Done, ""},
		{onboarding.Registration{Action: onboarding.Deregister}, onboarding.Done, ""},
		{onboarding.Registration{Action: onboarding.Register, PIN: "123456"}, onboarding.Failed, "PIN is wrong"},
		{onboarding.Registration{Action: onboarding.Register, PIN: "222222"}, onboarding.Done, ""},
		{onboarding.Registration{Action: "other"}, onboarding.Failed, "set-pin"},
	} {
		if got := w.onboarding().Change(t.Context(), number, c.do); got.State != c.state || !strings.Contains(got.Fix, c.fix) {
			t.Errorf("%+v: %+v", c.do, got)
		}
	}
}
