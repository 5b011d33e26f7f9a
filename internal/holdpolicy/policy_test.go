package holdpolicy_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/holdpolicy"
	"sluice/internal/message"
)

const (
	first   = "106540352242922"
	second  = "1"               // of the same account
	foreign = "102290129340398" // of another account
	removed = "7"               // of the account, not configured
	waba    = "500"
)

// fake stores holds, probes and accounts in memory, and what was done.
type fake struct {
	held     []message.Hold
	did      []string
	set      []message.Hold
	accounts map[string]string
	tokens   map[string]string
	working  []string
	err      error
}

func (f *fake) List(context.Context) ([]message.Hold, error) { return slices.Clone(f.held), f.err }

func (f *fake) Set(_ context.Context, h message.Hold) (message.Hold, error) {
	if f.err != nil {
		return h, f.err
	}
	until := "released"
	if !h.Until.IsZero() {
		until = time.Until(h.Until).String()
	}
	f.set = append(f.set, h)
	f.did = append(f.did, fmt.Sprintf("hold %s until %s by %s probe %s: %s", h.On(), until, h.By, h.Probe, h.Reason))
	return h, nil
}

func (f *fake) Release(_ context.Context, h message.Hold) (bool, error) {
	f.did = append(f.did, fmt.Sprintf("release %s by %s: %s", h.On(), h.By, h.Reason))
	return true, f.err
}

func (f *fake) Probe(_ context.Context, number string, d time.Duration) error {
	f.did = append(f.did, "probe "+number+" for "+d.String())
	return f.err
}

func (f *fake) Note(_ context.Context, number, account string) error {
	f.did = append(f.did, "account of "+number+" is "+account)
	return f.err
}

func (f *fake) Numbers(_ context.Context, account string) (numbers []string, err error) {
	for number, of := range f.accounts {
		if of == account {
			numbers = append(numbers, number)
		}
	}
	slices.Sort(numbers)
	return numbers, f.err
}

func (f *fake) Siblings(ctx context.Context, number string) ([]string, error) {
	numbers, err := f.Numbers(ctx, f.accounts[number])
	return slices.DeleteFunc(numbers, func(n string) bool { return n == number }), err
}

func newFake() *fake {
	return &fake{accounts: map[string]string{first: waba, second: waba, removed: waba, foreign: "600"}}
}

func (f *fake) policy(log *bytes.Buffer) *holdpolicy.Policy {
	return holdpolicy.New(holdpolicy.Options{
		Holds: f, Rates: f, Accounts: f, Numbers: func() []string { return []string{first, second, foreign} }, Shards: message.DefaultShards,
		Working:        func(context.Context, message.Shard) ([]string, error) { return f.working, f.err },
		Token:          func(number string) (string, error) { return f.tokens[number], nil },
		QualityChanged: func() { f.did = append(f.did, "ask about numbers") }, Log: slog.New(slog.NewTextHandler(log, nil)),
	})
}

// want compares what was done.
func (f *fake) want(t *testing.T, name string, want ...string) {
	t.Helper()
	if !slices.Equal(f.did, want) {
		t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(f.did, "\n"), strings.Join(want, "\n"))
	}
	f.did = nil
}

// TestUpdateHolds: an announcement holds the template, or every number of the account, for as long as Meta
// says; numbers of other accounts go on.
func TestUpdateHolds(t *testing.T) {
	t.Parallel()
	const (
		template = "message_template_status_update"
		account  = "account_update"
	)
	for _, tt := range []struct {
		name, field, meta string
		want              []string
	}{
		{"a template is paused", template, `{"event":"PAUSED","message_template_name":"sale","message_template_language":"en-US","other_info":{"title":"FIRST_PAUSE"}}`, []string{
			"hold template sale/en_US of number 1 until 3h0m0s by sluice probe 30s: Meta announced for the template: PAUSED",
			"hold template sale/en_US of number 106540352242922 until 3h0m0s by sluice probe 30s: Meta announced for the template: PAUSED",
			"hold template sale/en_US of number 7 until 3h0m0s by sluice probe 30s: Meta announced for the template: PAUSED",
		}},
		{"an account is disabled", account, `{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":["DISABLE"]}}`, []string{
			"probe 1 for 30s", "hold number 1 until released by sluice probe 0s: Meta announced for the account: DISABLED_UPDATE",
			"probe 106540352242922 for 30s", "hold number 106540352242922 until released by sluice probe 0s: Meta announced for the account: DISABLED_UPDATE",
			"probe 7 for 30s", "hold number 7 until released by sluice probe 0s: Meta announced for the account: DISABLED_UPDATE",
		}},
		{"an account is restricted for a time", account, `{"event":"ACCOUNT_RESTRICTION","restriction_info":[{"restriction_type":"RESTRICTED_BIZ_INITIATED_MESSAGING","expiration":946688400}]}`, []string{
			"probe 1 for 1h0m30s", "hold number 1 until 1h0m0s by sluice probe 0s: Meta announced for the account: ACCOUNT_RESTRICTION",
			"probe 106540352242922 for 1h0m30s", "hold number 106540352242922 until 1h0m0s by sluice probe 0s: Meta announced for the account: ACCOUNT_RESTRICTION",
			"probe 7 for 1h0m30s", "hold number 7 until 1h0m0s by sluice probe 0s: Meta announced for the account: ACCOUNT_RESTRICTION",
		}},
		{"an account is restricted until a time that cannot be", account, `{"event":"ACCOUNT_RESTRICTION","restriction_info":[{"restriction_type":"RESTRICTED_BIZ_INITIATED_MESSAGING","expiration":9223372036854775807}]}`, []string{
			"probe 1 for 2160h0m30s", "hold number 1 until 2160h0m0s by sluice probe 0s: Meta announced for the account: ACCOUNT_RESTRICTION",
			"probe 106540352242922 for 2160h0m30s", "hold number 106540352242922 until 2160h0m0s by sluice probe 0s: Meta announced for the account: ACCOUNT_RESTRICTION",
			"probe 7 for 2160h0m30s", "hold number 7 until 2160h0m0s by sluice probe 0s: Meta announced for the account: ACCOUNT_RESTRICTION",
		}},
		{"a restriction of something else", account, `{"event":"ACCOUNT_RESTRICTION","restriction_info":[{"restriction_type":"RESTRICTED_ADD_PHONE_NUMBER_ACTION"}]}`, nil},
		{"another event", account, `{"event":"VERIFIED_ACCOUNT"}`, nil},
		{"another field", "messages", `{"event":"DISABLED_UPDATE"}`, nil},
		{"what Sluice cannot read", template, `{"event":7}`, nil},
		{"a number may send faster", "phone_number_quality_update", `{"event":"THROUGHPUT_UPGRADE"}`, []string{"ask about numbers"}},
		{"the quality of a number", "phone_number_quality_update", `{"event":"FLAGGED"}`, []string{"ask about numbers"}},
	} {
		synctest.Test(t, func(t *testing.T) { // its clock begins at 946684800
			f := newFake()
			if err := f.policy(&bytes.Buffer{}).Update(t.Context(), message.Event{Type: message.EventUpdate, Field: tt.field, WABA: waba, Meta: []byte(tt.meta)}); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			f.want(t, tt.name, tt.want...)
		})
	}
}

// TestTemplateStates: each status in which Meta sends no messages of a template holds it, at the numbers of its account alone, by the
// list of templates as by webhook. PENDING is the status of a template that was never sent: there is nothing to hold.
func TestTemplateStates(t *testing.T) {
	t.Parallel()
	for status, ends := range map[string]string{
		"PAUSED": "30m0s", "DISABLED": "released", "REJECTED": "released", "ARCHIVED": "released", "LIMIT_EXCEEDED": "released",
		"PENDING_DELETION": "released", "DELETED": "released", "PENDING": "", "IN_APPEAL": "", "FLAGGED": "", "GLOWING": "",
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			p := f.policy(&bytes.Buffer{})
			var want []string
			for _, number := range []string{second, first, removed} {
				if ends != "" {
					want = append(want, fmt.Sprintf("hold template sale/en_US of number %s until %s by sluice probe 30s: Meta announced for the template: %s", number, ends, status))
				}
			}
			if err := p.TemplateStates(t.Context(), waba, []message.Template{{Name: "sale", Language: "en_US", Status: status}}); err != nil {
				t.Error(err)
			}
			f.want(t, status+" in the list", want...)
			meta := fmt.Sprintf(`{"event":%q,"message_template_name":"sale","message_template_language":"en_US"}`, status)
			if err := p.Update(t.Context(), message.Event{Field: "message_template_status_update", WABA: waba, Meta: []byte(meta)}); err != nil {
				t.Error(err)
			}
			f.want(t, status+" by webhook", want...)

			f.held = []message.Hold{{Number: first, Template: "sale/en_US", By: holdpolicy.BySluice}, {Number: foreign, Template: "sale/en_US", By: holdpolicy.BySluice}}
			if err := p.TemplateStates(t.Context(), waba, []message.Template{{Name: "sale", Language: "en_US", Status: "APPROVED"}}); err != nil {
				t.Error(err)
			}
			f.want(t, "approved after "+status, "release template sale/en_US of number "+first+" by sluice: Meta lists the template as APPROVED")
		})
	}
}

// TestUpdateReleases: an announcement releases exactly the automatic holds that it is about: not those of an
// operator, of another template, of another account, or after Redis was restored.
func TestUpdateReleases(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.held = []message.Hold{
		{Number: first, By: holdpolicy.BySluice},
		{Number: second, By: "anna"},
		{Number: foreign, By: holdpolicy.BySluice},
		{Number: removed, By: holdpolicy.ByRestore},
		{Number: second, Template: "sale/en", By: holdpolicy.BySluice},
		{Number: first, Template: "sale/de", By: holdpolicy.BySluice},
		{Number: foreign, Template: "sale/en", By: holdpolicy.BySluice},
		{Tag: "spring", By: "anna"},
	}
	p := f.policy(&bytes.Buffer{})
	update := func(name, field, meta string, want ...string) {
		t.Helper()
		if err := p.Update(t.Context(), message.Event{Field: field, WABA: waba, Meta: []byte(meta)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		f.want(t, name, want...)
	}
	update("template", "message_template_status_update", `{"event":"APPROVED","message_template_name":"sale","message_template_language":"en"}`,
		"release template sale/en of number 1 by sluice: Meta allows the template to send again (APPROVED)")
	update("account", "account_update", `{"event":"ACCOUNT_RECONNECTED"}`,
		"release number 106540352242922 by sluice: Meta allows the account to send again (ACCOUNT_RECONNECTED)")
	for _, e := range []message.Event{
		{Field: "account_update", Meta: []byte(`{"event":"ACCOUNT_RECONNECTED"}`)},
		{Field: "account_update", WABA: "700", Meta: []byte(`{"event":"DISABLED_UPDATE","ban_info":{"waba_ban_state":["DISABLE"]}}`)},
	} {
		if err := p.Update(t.Context(), e); err != nil {
			t.Error(err)
		}
		f.want(t, "of an unknown account: "+e.WABA)
	}
}

// TestUpdateFails: an announcement that could not be stored is an error, so that it is applied again.
func TestUpdateFails(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	for _, meta := range []string{`{"event":"ACCOUNT_RECONNECTED"}`, `{"event":"ACCOUNT_DELETED"}`} {
		f := newFake()
		f.held, f.err = []message.Hold{{Number: first, By: holdpolicy.BySluice}}, away
		err := f.policy(&bytes.Buffer{}).Update(t.Context(), message.Event{Field: "account_update", WABA: waba, Meta: []byte(meta)})
		if !errors.Is(err, away) {
			t.Errorf("%s: %v", meta, err)
		}
	}
}

// TestRefused: a refusal holds the number or the template, with Meta's title for the code, and without an end
// where only an operator can remove the cause.
func TestRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := f.policy(&bytes.Buffer{})
		for _, tt := range []struct {
			template string
			out      message.Outcome
			want     string
		}{
			{"", message.Outcome{Code: 190, Endless: true}, "hold number 1 until released by sluice probe 0s: Access token has expired"},
			{"sale/en", message.Outcome{Code: 999999, Detail: message.ErrorDetail{Message: "Template is broken"}}, "hold template sale/en of number 1 until 5m0s by sluice probe 30s: Template is broken"},
			{"sale/en", message.Outcome{Code: 131063, Needs: message.RouteMarketing}, "hold template sale/en of number 1 until 5m0s by sluice probe 30s: Marketing templates disabled on Cloud API: set marketing_messages of the number to fallback or strict"},
			{"", message.Outcome{Reason: "not JSON"}, "hold number 1 until 5m0s by sluice probe 0s: not JSON"},
			{"", message.Outcome{Code: 999999}, "hold number 1 until 5m0s by sluice probe 0s: code 999999"},
		} {
			if err := p.Refused(t.Context(), second, tt.template, tt.out, 5*time.Minute); err != nil {
				t.Error(err)
			}
			f.want(t, tt.want, tt.want)
		}
	})
}

// TestReleases: a new access token releases the hold on its number, and a message that Meta accepted the
// hold on its template. Neither releases an operator's hold.
func TestReleases(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	f := newFake()
	f.held = []message.Hold{
		{Number: first, By: holdpolicy.BySluice},
		{Number: second, By: "anna"},
		{Number: foreign, By: holdpolicy.ByRestore},
		{Number: first, Template: "sale/en", By: holdpolicy.BySluice},
		{Number: second, Template: "sale/en", By: "anna"},
	}
	p := f.policy(&log)
	for _, number := range []string{first, second, foreign} {
		if err := p.NewToken(t.Context(), number); err != nil {
			t.Error(err)
		}
		p.TemplateAccepted(t.Context(), number, "sale/en")
	}
	f.want(t, "releases",
		"release number "+first+" by sluice: the number has a new access token",
		"release template sale/en of number "+first+" by sluice: Meta took a message of the template")
	f.err = errors.New("away")
	p.TemplateAccepted(t.Context(), first, "sale/en")
	if err := p.NewToken(t.Context(), first); err == nil || !strings.Contains(log.String(), "cannot release hold") {
		t.Errorf("while Redis is away: %v, log %s", err, &log)
	}
}

// TestLostWrites: only the numbers of the shard are held, also those that other workers serve: for 30 s when Redis lost
// writes, until an operator releases them when it lost too much.
func TestLostWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.working = []string{first, removed}
		p := f.policy(&bytes.Buffer{})
		shard := message.DefaultShards.Of(first)
		p.LostWrites(t.Context(), shard)
		const lost = " until 30s by sluice probe 0s: Redis lost writes: waiting for Meta's statuses of the messages that were sent"
		f.want(t, "lost", "hold number "+first+lost, "hold number "+removed+lost)
		if err := p.Restored(t.Context(), shard, time.Minute); err != nil {
			t.Error(err)
		}
		const restored = " until released by sluice: restored probe 0s: Redis was restored or lost too much: compare with Meta which messages were sent, then release"
		f.want(t, "restored", "hold number "+first+restored, "hold number "+removed+restored)
		f.err = errors.New("away")
		if err := p.Restored(t.Context(), shard, 0); err == nil {
			t.Error("no error while Redis is away: sending would begin")
		}
	})
}

// TestNoteAccount: the account of a number is stored once, and again after it failed or changed.
func TestNoteAccount(t *testing.T) {
	t.Parallel()
	f := newFake()
	p := f.policy(&bytes.Buffer{})
	f.err = errors.New("away")
	p.NoteAccount(t.Context(), first, waba)
	f.err = nil
	p.NoteAccount(t.Context(), first, waba)
	p.NoteAccount(t.Context(), first, waba)
	p.NoteAccount(t.Context(), first, "600")
	f.want(t, "accounts", "account of "+first+" is 500", "account of "+first+" is 500", "account of "+first+" is 600")
}

func TestNumbersShareLimitsByTokenAndAccount(t *testing.T) {
	t.Parallel()
	f := newFake()
	f.tokens = map[string]string{first: "a", second: "b", foreign: "a"}
	var log bytes.Buffer
	p := f.policy(&log)
	for number, want := range map[string][]string{
		first:   {second, foreign, first, removed}, // by its account and by its token
		second:  {second, first, removed},          // by its account
		foreign: {foreign, first},                  // by its token
		"9":     {"9"},                             // not configured, without a token
	} {
		slices.Sort(want)
		if got := p.Siblings(t.Context(), number); !slices.Equal(got, want) {
			t.Errorf("%s shares limits with %v, want %v", number, got, want)
		}
	}
	f.err = errors.New("Redis is away")
	if got := p.Siblings(t.Context(), foreign); !slices.Equal(got, []string{foreign, first}) || log.Len() == 0 {
		t.Errorf("without the accounts: %v, log %q", got, log.String())
	}
}
