// Package onboarding connects a business that ended Meta's Embedded Signup: from the code of the signup to a number that can send.
// Each step first looks at what Meta has, so a run that was interrupted or failed is repeated as it was.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/embedded-signup/onboarding-customers-as-a-solution-partner
package onboarding

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/directory"
)

// Request says which number to connect. App, Account and Number are required.
type Request struct {
	App         string // the name of the app of the signup, under apps
	AppID       string // Meta's id of it; empty: the code cannot be exchanged
	Code        string // of the signup, valid for 30 s; empty: there is an access token of the number already
	Account     string // WhatsApp Business Account id
	Number      string // phone number id
	PIN         string // of the two-step verification, six digits: the present one, or a new one if the number has none. Empty: the number is not registered
	Client      string // the client that the number belongs to; empty: none
	RateLimit   int    // messages per second; 0: what Meta reports
	AccountHook Callback
	NumberHook  Callback
	Change      directory.Change // who connects it, and why
}

// Callback is a URL for webhooks in place of the app's, with its verify token.
type Callback = cloudapi.Callback

// State is what became of a step.
type State string

// The states of steps.
const (
	Done   State = "done"
	Before State = "before" // nothing was to do: it was done before
	Failed State = "failed"
)

// Step is a step that was taken. It holds no secret and no phone number.
type Step struct {
	Name  string `json:"name" doc:"token, permissions, account, webhooks, callback, registration, templates, number or doctor; or the name of the action."`
	State State  `json:"state" doc:"done, before (it was done before) or failed."`
	Says  string `json:"says" doc:"What was done or found."`
	Fix   string `json:"fix,omitempty" doc:"What to do about a failed step. Then repeat the request."`
}

// Result is the steps in their order, up to the first that failed.
type Result struct {
	Ready    bool      `json:"ready" doc:"The number can send."`
	Steps    []Step    `json:"steps"`
	Findings []Finding `json:"findings,omitempty" doc:"What doctor finds about the number and its access token that is not good."`
}

// Finding is what doctor found.
type Finding struct {
	Verdict string `json:"verdict" doc:"warn (it works now and may fail later) or fail."`
	Check   string `json:"check" doc:"What was checked."`
	Says    string `json:"says" doc:"What was found."`
	Fix     string `json:"fix" doc:"What to do about it."`
}

// Graph is Meta's API with one access token.
type Graph interface {
	ExchangeCode(ctx context.Context, appID, appSecret, code string) (token string, expires time.Time, err error)
	Grant(ctx context.Context, number string) (cloudapi.Grant, error)
	Number(ctx context.Context, number string) (cloudapi.Number, error)
	NumbersOf(ctx context.Context, number, account string) ([]string, error)
	Subscribed(ctx context.Context, number, account string) ([]string, error)
	Subscribe(ctx context.Context, number, account string, to Callback) error
	SetCallback(ctx context.Context, number string, to Callback) error
	Register(ctx context.Context, number, pin string) error
	Deregister(ctx context.Context, number string) error
	RequestCode(ctx context.Context, number, method, language string) error
	VerifyCode(ctx context.Context, number, code string) error
	SetPIN(ctx context.Context, number, pin string) error
	Close()
}

// Options are what an Onboarding works with. All are required.
type Options struct {
	Graph func(token string) Graph
	App   func(name string) (secret string, ok bool)               // the app secret of an app
	Token func(ctx context.Context, number string) (string, error) // the access token that is known of a number
	Save  func(context.Context, Request, string) error             // stores the number with its access token; empty: the access token stays
	Note  func(ctx context.Context, number, account string) error  // stores to which account a number belongs
	Want  func(ctx context.Context, account string) error          // lets the workers read the templates of an account
	// Examine returns what doctor finds about a number and its access token, by what Meta says of them.
	Examine func(grant cloudapi.Grant, number cloudapi.Number, rateLimit int) []Finding
	// Registration counts a registration or deregistration of a number before Meta is asked for it. It returns zero, or how long to
	// wait for the next one.
	Registration func(ctx context.Context, number string) (time.Duration, error)
}

// Onboarding connects numbers. It is safe for concurrent use.
type Onboarding struct{ o Options }

// New returns an Onboarding.
func New(o Options) *Onboarding { return &Onboarding{o} }

// run is one run of the steps.
type run struct {
	o     Options
	q     Request
	graph Graph
	grant cloudapi.Grant  // what Meta says of the access token
	now   cloudapi.Number // what Meta says of the number

	findings []Finding
}

// Run takes the steps. It blocks for as long as Meta takes to answer: seconds. Later steps need the earlier ones, so it ends with the first
// that fails.
func (b *Onboarding) Run(ctx context.Context, q Request) Result {
	r := run{o: b.o, q: q}
	defer func() {
		if r.graph != nil {
			r.graph.Close()
		}
	}()
	var out Result
	for _, s := range []struct {
		name string
		take func(context.Context) (State, string, error)
	}{
		{"token", r.token},
		{"permissions", r.permissions},
		{"account", r.account},
		{"webhooks", r.webhooks},
		{"callback", r.callback},
		{"registration", r.registration},
		{"templates", r.templates},
		{"number", r.number},
		{"doctor", r.doctor},
	} {
		state, says, err := s.take(ctx)
		step := Step{Name: s.name, State: state, Says: says}
		if err != nil {
			step.State, step.Says, step.Fix = Failed, err.Error(), fix(err)
		}
		out.Steps, out.Findings = append(out.Steps, step), r.findings
		if err != nil {
			return out
		}
	}
	out.Ready = true
	return out
}

// fixed is an error with what to do about it.
type fixed struct {
	error
	fix string
}

func (f fixed) Unwrap() error { return f.error }

func failed(fix, says string, args ...any) error { return fixed{fmt.Errorf(says, args...), fix} }

// token exchanges the code, unless Meta accepts the access token that is there. The new token is stored at once, because Meta accepts a
// code only once.
func (r *run) token(ctx context.Context) (State, string, error) {
	if have, err := r.o.Token(ctx, r.q.Number); err == nil && have != "" {
		r.graph = r.o.Graph(have)
		grant, err := r.graph.Grant(ctx, r.q.Number)
		if err != nil {
			return "", "", err
		}
		if grant.Valid {
			if r.q.Client == "" && r.q.RateLimit == 0 {
				return Before, "Meta accepts the access token of the number", nil
			}
			if err := r.o.Save(ctx, r.q, ""); err != nil {
				return "", "", fmt.Errorf("store the client and the rate limit: %w", err)
			}
			return Before, "Meta accepts the access token of the number; the client and the rate limit are stored", nil
		}
		r.graph.Close()
	}
	secret, ok := r.o.App(r.q.App)
	switch {
	case r.q.Code == "":
		return "", "", failed("open the Embedded Signup, and send its code within 30 s", "there is no code, and no valid access token of the number")
	case !ok:
		return "", "", failed("add the app with its app secret (sluice apps add), or correct the name", "no app %s is configured", r.q.App)
	case r.q.AppID == "":
		return "", "", failed("send app_id: Meta's id of the app, with which the signup was opened", "there is no id of the app, which Meta needs to exchange the code")
	}
	r.graph = r.o.Graph("")
	token, expires, err := r.graph.ExchangeCode(ctx, r.q.AppID, secret, r.q.Code)
	if err != nil {
		return "", "", err
	}
	if err := r.o.Save(context.WithoutCancel(ctx), r.q, token); err != nil {
		return "", "", fmt.Errorf("store the access token: %w", err)
	}
	r.graph.Close()
	r.graph = r.o.Graph(token)
	if expires.IsZero() {
		return Done, "the code was exchanged for an access token that does not expire", nil
	}
	return Done, "the code was exchanged for an access token that expires on " + expires.UTC().Format(time.DateOnly), nil
}

func (r *run) permissions(ctx context.Context) (State, string, error) {
	var err error
	if r.grant, err = r.graph.Grant(ctx, r.q.Number); err != nil {
		return "", "", err
	}
	lacks := slices.DeleteFunc(slices.Clone(cloudapi.Permissions), func(scope string) bool { return slices.Contains(r.grant.Scopes, scope) })
	if len(lacks) > 0 {
		return "", "", failed("give the configuration of the signup both permissions, and let the customer repeat it", "the access token lacks %s", strings.Join(lacks, " and "))
	}
	return Before, strings.Join(cloudapi.Permissions, ", "), nil
}

func (r *run) account(ctx context.Context) (State, string, error) {
	numbers, err := r.graph.NumbersOf(ctx, r.q.Number, r.q.Account)
	if err != nil {
		return "", "", err
	}
	if !slices.Contains(numbers, r.q.Number) {
		return "", "", failed("compare waba_id and phone_number_id with the answer of the signup", "account %s does not have the phone number id %s", r.q.Account, r.q.Number)
	}
	if err := r.o.Note(ctx, r.q.Number, r.q.Account); err != nil {
		return "", "", err
	}
	return Before, "account " + r.q.Account + " has the number", nil
}

// webhooks subscribes the app to the account. Without a callback an existing subscription stays as it is.
func (r *run) webhooks(ctx context.Context) (State, string, error) {
	apps, err := r.graph.Subscribed(ctx, r.q.Number, r.q.Account)
	if err != nil {
		return "", "", err
	}
	if slices.Contains(apps, r.grant.App) && r.q.AccountHook.URL == "" {
		return Before, "the app gets the webhooks of the account", nil
	}
	if err := r.graph.Subscribe(ctx, r.q.Number, r.q.Account, r.q.AccountHook); err != nil {
		return "", "", err
	}
	return Done, "the app gets the webhooks of the account" + at(r.q.AccountHook), nil
}

func (r *run) callback(ctx context.Context) (State, string, error) {
	var err error
	if r.now, err = r.graph.Number(ctx, r.q.Number); err != nil {
		return "", "", err
	}
	switch r.q.NumberHook.URL {
	case "":
		return Before, "the number has no callback of its own to set", nil
	case r.now.Callbacks.Number:
		return Before, "the webhooks of the number go" + at(r.q.NumberHook), nil
	}
	if err := r.graph.SetCallback(ctx, r.q.Number, r.q.NumberHook); err != nil {
		return "", "", err
	}
	return Done, "the webhooks of the number go" + at(r.q.NumberHook), nil
}

func at(hook Callback) string {
	if hook.URL == "" {
		return ""
	}
	return " to " + hook.URL
}

// registration registers the number, unless it is registered: Meta accepts only ten registrations in 72 hours.
func (r *run) registration(ctx context.Context) (State, string, error) {
	if r.now.Registered() {
		return Before, "the number is registered for the Cloud API", nil
	}
	if r.q.PIN == "" {
		return "", "", failed("send the PIN of the number, six digits: the present one, or a new one if it has none", "the number is not registered, and there is no PIN to register it")
	}
	if err := r.count(ctx); err != nil {
		return "", "", err
	}
	if err := r.graph.Register(ctx, r.q.Number, r.q.PIN); err != nil {
		return "", "", err
	}
	return Done, "the number was registered for the Cloud API", nil
}

// count refuses a registration or deregistration that Meta would refuse, because it makes the wait longer.
func (r *run) count(ctx context.Context) error {
	wait, err := r.o.Registration(ctx, r.q.Number)
	if err == nil && wait > 0 {
		err = failed(advice[133016], "there were ten registrations and deregistrations of the number within 72 hours; the next one is possible in %s, and Meta was not asked", wait.Round(time.Minute))
	}
	return err
}

func (r *run) templates(ctx context.Context) (State, string, error) {
	if err := r.o.Want(ctx, r.q.Account); err != nil {
		return "", "", fmt.Errorf("order the templates: %w", err)
	}
	return Done, "the workers read the templates of the account", nil
}

func (r *run) number(ctx context.Context) (State, string, error) {
	n, err := r.graph.Number(ctx, r.q.Number)
	if err != nil {
		return "", "", err
	}
	r.now, r.findings = n, r.o.Examine(r.grant, n, r.q.RateLimit)
	if !n.CanSend() {
		return "", "", failed("findings names the reason and the fix", "Meta says %s, and that sending is %s", n.Status, cmp.Or(n.Health.CanSend, "unknown"))
	}
	return Done, "the number can send", nil
}

// doctor says how much it found. It asks Meta nothing more.
func (r *run) doctor(context.Context) (State, string, error) {
	if len(r.findings) == 0 {
		return Done, "nothing is wrong with the number and its access token", nil
	}
	return Done, fmt.Sprintf("%d warnings or failed checks: see findings", len(r.findings)), nil
}

// advice says what to do about the codes of Meta's answers to these calls.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes
var advice = map[int]string{
	100:    "compare the values with the answer of the signup. A code is valid for 30 s and once: open the signup again",
	190:    "the access token is not valid: open the Embedded Signup again, and send its code",
	200:    "the access token lacks a permission for the account: let the customer repeat the signup",
	133000: "an earlier deregistration failed: deregister the number, then repeat",
	133005: "the PIN is wrong: send the present one, or let the owner of the number change it in the WhatsApp Manager",
	133006: "verify the number first: request a code, and send it",
	133008: "the PIN was wrong too often: wait as long as Meta says, then repeat with the right one",
	133009: "the PIN was entered too fast: wait as long as Meta says, then repeat",
	133015: "the number was deleted a moment ago: wait 5 minutes, then repeat",
	133016: "Meta accepts ten registrations of a number in 72 hours: wait until then. More tries do not help",
}

// fix returns what to do about an error.
func fix(err error) string {
	if f, ok := errors.AsType[fixed](err); ok {
		return f.fix
	}
	if refused, ok := errors.AsType[*cloudapi.Refusal](err); ok {
		if e, known := cloudapi.Lookup(refused.Code); known && advice[refused.Code] == "" {
			return e.Advice
		}
		return cmp.Or(advice[refused.Code], "look the code up in Meta's list of error codes")
	}
	return "repeat the request: what is done stays done"
}
