// Package doctor checks a whole installation, and says what is wrong and how to correct it. It reads and asks. It
// sends one webhook without events, and with Options.Fix it corrects what can be corrected safely.
package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/directory"
)

// Verdict is the result of a check.
type Verdict string

// The verdicts.
const (
	OK   Verdict = "ok"
	Warn Verdict = "warn" // it works now and may fail later
	Fail Verdict = "fail" // messages or statuses do not get through
)

// Finding is what one check found. It holds no secret and no phone number.
type Finding struct {
	Verdict Verdict `json:"verdict"`
	Check   string  `json:"check"`
	Of      string  `json:"of,omitempty"` // the phone number id, account or app that it is about
	Says    string  `json:"says"`
	Fix     string  `json:"fix,omitempty"`   // unless OK
	Fixed   string  `json:"fixed,omitempty"` // what --fix did, or would do
}

// found makes a finding. One that is not OK has a fix. add sets the check and what it is about.
func found(v Verdict, says, fix string) Finding {
	return Finding{Verdict: v, Says: says, Fix: fix}
}

// Report is all findings, in the order in which a message meets the parts of the installation.
type Report []Finding

// Failed reports whether a check failed.
func (r Report) Failed() bool { return r.count(Fail) > 0 }

func (r Report) count(v Verdict) int {
	n := 0
	for _, f := range r {
		if f.Verdict == v {
			n++
		}
	}
	return n
}

// Text writes a line for each finding, and the counts.
func (r Report) Text(w io.Writer) {
	for _, f := range r {
		what := f.Check
		if f.Of != "" {
			what += " " + f.Of
		}
		line := fmt.Sprintf("%-4s  %-34s  %s", f.Verdict, what, f.Says)
		if f.Fix != "" {
			line += ". Fix: " + f.Fix
		}
		if f.Fixed != "" {
			line += ". --fix: " + f.Fixed
		}
		fmt.Fprintln(w, line)
	}
	fmt.Fprintf(w, "\n%d ok, %d warnings, %d failed\n", r.count(OK), r.count(Warn), r.count(Fail))
}

// JSON writes the findings as an array.
func (r Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// callTimeout bounds each call.
const callTimeout = 10 * time.Second

// Options say what to check.
type Options struct {
	Args       []string            // of a program: --config and its file, or nothing
	Getenv     func(string) string // see config.Env
	WebhookURL string              // where Meta reaches the webhook; empty: it is not checked
	Numbers    []string            // check only these phone number ids at Meta; empty: all, up to maxNumbers
	Fix        bool                // correct at Meta what can be corrected safely
	DryRun     bool                // say what Fix would do, and change nothing
}

// maxNumbers is how many numbers are checked at Meta in one run. Each number needs one request, and each of their accounts,
// access tokens and apps one more.
const maxNumbers = 500

// visit is one run of all checks.
type visit struct {
	config.All
	o      Options
	graph  *cloudapi.Client
	known  *directory.Directory // nil: only the configuration file is known
	grants map[string]grant     // by access token
	report Report
}

// grant is what Meta says of an access token, or why it says nothing.
type grant struct {
	cloudapi.Grant
	err error
}

// numbers returns all numbers, those of the configuration file first.
func (v *visit) numbers() (all []config.Number) {
	if v.known == nil {
		return v.Worker.Numbers
	}
	for _, id := range v.known.Numbers() {
		n, _ := v.known.Number(id)
		all = append(all, n)
	}
	return all
}

// apps returns all apps.
func (v *visit) apps() []config.App {
	if v.known == nil {
		return v.Webhook.Apps
	}
	return v.known.Apps()
}

// tokenOf returns the access token of a number.
func (v *visit) tokenOf(number string) (string, error) {
	if v.known == nil {
		return v.Worker.Tokens.Token(number)
	}
	return v.known.Token(number)
}

// add adds a finding of a check. of is the phone number id, account or app that it is about, or empty.
func (v *visit) add(check, of string, f Finding) {
	f.Check, f.Of = check, of
	v.report = append(v.report, f)
}

// Examine runs all checks. It takes seconds, and up to ten for each call without an answer. It leaves out the checks that
// depend on one that failed.
func Examine(ctx context.Context, o Options) Report {
	all, mistakes := config.LoadAll(o.Args, o.Getenv)
	v := &visit{All: all, o: o, grants: map[string]grant{}}
	for _, err := range mistakes {
		v.add("configuration", "", found(Fail, err.Error(), "correct it as docs/configuration.md says, then run doctor again: all other checks need the configuration"))
	}
	if mistakes != nil {
		return v.report
	}
	c := v.Worker
	v.add("configuration", "", found(OK, fmt.Sprintf("numbers: %d, apps: %d, API keys: %d", len(c.Numbers), len(v.Webhook.Apps), len(v.Producer.APIKeys)), ""))
	v.graph = cloudapi.NewClient(cloudapi.Options{
		BaseURL: c.Graph.BaseURL, Version: c.Graph.Version, Token: v.tokenOf, Timeout: callTimeout,
	})
	defer v.graph.Close()
	v.redis(ctx)
	v.apiKeys(time.Now())
	v.outbox(ctx)
	v.archive(ctx)
	v.meta(ctx)
	v.hook(ctx)
	return v.report
}

// meta checks what Meta has: its clock, each number with its token and its account, and the apps of the
// tokens.
func (v *visit) meta(ctx context.Context) {
	if !v.graphAnswers(ctx) {
		return
	}
	var accounts, apps []string
	numbers := v.numbers()
	if len(v.o.Numbers) > 0 {
		numbers = slices.DeleteFunc(numbers, func(n config.Number) bool { return !slices.Contains(v.o.Numbers, n.ID) })
	}
	if len(numbers) > maxNumbers {
		v.add("numbers", "", found(Warn, fmt.Sprintf("%d of %d numbers are not checked at Meta", len(numbers)-maxNumbers, len(numbers)), "check them with --phone-number-id"))
		numbers = numbers[:maxNumbers]
	}
	for _, n := range numbers {
		grant, ok := v.token(ctx, n.ID)
		if !ok {
			continue
		}
		// A token may reach accounts that have none of the numbers.
		if account, ok := v.number(ctx, n); ok && !slices.Contains(accounts, account) {
			accounts = append(accounts, account)
			v.account(ctx, n.ID, account, grant.App)
		}
		if !slices.Contains(apps, grant.App) {
			apps = append(apps, grant.App)
			v.app(ctx, grant.App)
		}
	}
}
