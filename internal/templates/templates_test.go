package templates_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/message"
	"sluice/internal/templates"
)

// meta is a fake of Meta, with the store of accounts.
type meta struct {
	mu       sync.Mutex
	stored   map[string]string                   // accounts by number
	accounts map[string]string                   // as Meta names them
	classes  map[string]map[string]message.Class // by account and name, then by language
	away     bool                                // Meta answers with an error
	slow     time.Duration                       // how long Meta takes to answer
	asked    []string
}

func (m *meta) All(context.Context) (map[string]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.stored), nil
}

func (m *meta) Note(_ context.Context, number, account string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stored[number] = account
	return nil
}

func (m *meta) answer(ctx context.Context, question string) error {
	m.mu.Lock()
	m.asked = append(m.asked, question)
	slow, away := m.slow, m.away
	m.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	if away {
		return errors.New("HTTP 500")
	}
	return nil
}

func (m *meta) Account(ctx context.Context, number string) (string, error) {
	return m.accounts[number], m.answer(ctx, "account of "+number)
}

func (m *meta) Categories(ctx context.Context, _, account, name string) (map[string]message.Class, error) {
	err := m.answer(ctx, account+" "+name)
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.classes[account+" "+name]), err
}

// questions returns what Meta was asked since the last call.
func (m *meta) questions() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() { m.asked = nil }()
	return strings.Join(m.asked, ", ")
}

func (m *meta) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// setup runs a test with numbers 1 and 2 of account 900 and number 3 of account 901. There is no token of number 4.
func setup(t *testing.T, test func(t *testing.T, m *meta, all *templates.Templates, log *bytes.Buffer)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &meta{
			stored: map[string]string{"3": "901", "4": "900"}, accounts: map[string]string{"1": "900", "2": "900"}, slow: 100 * time.Millisecond,
			classes: map[string]map[string]message.Class{
				"900 code": {"en": message.Authentication}, "900 order": {"en": message.Utility}, "900 sale": {"en": message.Marketing, "de": message.Utility},
				"901 order": {"en": message.Marketing},
			},
		}
		var log bytes.Buffer
		all := templates.New(templates.Options{
			Graph: m, Store: m, Numbers: func() []string { return []string{"1", "2", "3", "4"} }, Ready: func(n string) bool { return n != "4" },
			Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		test(t, m, all, &log)
	})
}

func TestCategories(t *testing.T) {
	setup(t, func(t *testing.T, m *meta, all *templates.Templates, _ *bytes.Buffer) {
		for _, tt := range []struct {
			number, name, language string
			want                   message.Class
			asked                  string
		}{
			{"1", "code", "en", message.Authentication, "account of 1, 900 code"},
			{"1", "order", "en", message.Utility, "900 order"},
			{"1", "sale", "en", message.Marketing, "900 sale"},
			{"2", "sale", "de", message.Utility, "account of 2"}, // of the same account
			{"2", "sale", "fr", "", ""},
			{"3", "order", "en", message.Marketing, "901 order"}, // the account is stored
			{"3", "nosuch", "en", "", "901 nosuch"},
			{"3", "nosuch", "en", "", ""},
			{"4", "order", "en", "", ""}, // Meta cannot be asked
		} {
			if got := all.Wait(t.Context(), tt.number, tt.name, tt.language); got != tt.want {
				t.Errorf("%+v: %q", tt, got)
			}
			if got, known := all.Class(tt.number, tt.name, tt.language); got != tt.want || !known {
				t.Errorf("%+v: %q, known: %t, without a wait", tt, got, known)
			}
			if got := m.questions(); got != tt.asked {
				t.Errorf("%+v: Meta was asked %q", tt, got)
			}
		}
	})
}

// TestOneRequest: 1,000 callers share one request to Meta, and none of them waits while another one is asked.
func TestOneRequest(t *testing.T) {
	setup(t, func(t *testing.T, m *meta, all *templates.Templates, _ *bytes.Buffer) {
		var callers sync.WaitGroup
		for range 1000 {
			callers.Go(func() {
				if _, known := all.Class("3", "order", "en"); known {
					t.Error("the class is known before Meta has answered")
				}
				if got := all.Wait(t.Context(), "3", "order", "en"); got != message.Marketing {
					t.Errorf("class %q", got)
				}
			})
		}
		start := time.Now()
		callers.Wait()
		if got := m.questions(); got != "901 order" || time.Since(start) != 100*time.Millisecond {
			t.Errorf("Meta was asked %q in %s", got, time.Since(start))
		}
	})
}

// TestRefresh: after an hour the known category stays in use until Meta has answered again.
func TestRefresh(t *testing.T) {
	setup(t, func(t *testing.T, m *meta, all *templates.Templates, _ *bytes.Buffer) {
		expect := func(want message.Class, asked string) {
			t.Helper()
			start := time.Now()
			if got := all.Wait(t.Context(), "3", "order", "en"); got != want || time.Since(start) > 100*time.Millisecond {
				t.Errorf("%q after %s, want %q", got, time.Since(start), want)
			}
			all.Class("3", "order", "en") // while Meta is asked
			synctest.Wait()
			if got := m.questions(); got != asked {
				t.Errorf("Meta was asked %q, want %q", got, asked)
			}
		}
		expect(message.Marketing, "901 order")
		m.set(func() { m.classes["901 order"] = map[string]message.Class{"en": message.Utility} })
		time.Sleep(time.Hour - time.Second)
		expect(message.Marketing, "")
		time.Sleep(time.Second)
		expect(message.Marketing, "901 order")
		time.Sleep(time.Second)
		expect(message.Utility, "")
		m.set(func() { m.away = true })
		time.Sleep(time.Hour)
		expect(message.Utility, "901 order")
		time.Sleep(time.Second)
		expect(message.Utility, "") // the failure is remembered
		m.set(func() { m.away = false })
		time.Sleep(time.Minute)
		expect(message.Utility, "901 order")
		time.Sleep(time.Second) // the request ends
	})
}

// TestNewTemplate: a template that Meta did not have is found a minute later.
func TestNewTemplate(t *testing.T) {
	setup(t, func(t *testing.T, m *meta, all *templates.Templates, _ *bytes.Buffer) {
		all.Wait(t.Context(), "3", "new", "en")
		m.set(func() { m.classes["901 new"] = map[string]message.Class{"en": message.Authentication} })
		time.Sleep(time.Minute)
		all.Class("3", "new", "en") // starts the request
		time.Sleep(time.Second)
		if got, known := all.Class("3", "new", "en"); got != message.Authentication || !known || m.questions() != "901 new, 901 new" {
			t.Errorf("%q, known: %t", got, known)
		}
	})
}

// TestMetaAway: an error of Meta is remembered for a minute, for all templates of the number, and is in the log without
// more than the number.
func TestMetaAway(t *testing.T) {
	setup(t, func(t *testing.T, m *meta, all *templates.Templates, log *bytes.Buffer) {
		m.away = true
		for _, name := range []string{"order", "order", "another"} {
			if got := all.Wait(t.Context(), "3", name, "en"); got != "" {
				t.Errorf("class %q", got)
			}
		}
		if got := m.questions(); got != "901 order" {
			t.Errorf("Meta was asked %q", got)
		}
		if text := log.String(); !strings.Contains(text, "phone_number_id=3") || strings.Count(text, "\n") != 1 {
			t.Errorf("log: %s", text)
		}
		m.set(func() { m.away = false })
		time.Sleep(time.Minute)
		if got := all.Wait(t.Context(), "3", "another", "en"); got != "" || m.questions() != "901 another" {
			t.Errorf("class %q", got)
		}
	})
}

// TestFirstWait: a caller waits for at most 2 s, or until it leaves. Then no caller waits for a minute.
func TestFirstWait(t *testing.T) {
	setup(t, func(t *testing.T, m *meta, all *templates.Templates, _ *bytes.Buffer) {
		m.slow = time.Hour
		waits := func(want time.Duration, name string) {
			t.Helper()
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
			defer cancel()
			if got := all.Wait(ctx, "3", name, "en"); got != "" || time.Since(start) != want {
				t.Errorf("%s: %q after %s, want %s", name, got, time.Since(start), want)
			}
		}
		waits(2*time.Second, "order")
		waits(time.Second, "order") // until the request of 3 s ends
		waits(0, "order")
		waits(0, "another")
		time.Sleep(time.Minute)
		go waits(2*time.Second, "order")
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if start := time.Now(); all.Wait(ctx, "3", "order", "en") != "" || time.Since(start) != 10*time.Millisecond {
			t.Errorf("a caller that left waited %s", time.Since(start))
		}
		time.Sleep(time.Minute)
	})
}

// TestManyTemplates: as many names as a caller likes use a bounded number of requests at once, and of entries.
func TestManyTemplates(t *testing.T) {
	setup(t, func(t *testing.T, m *meta, all *templates.Templates, _ *bytes.Buffer) {
		templates.Limit(all, 50)
		all.Wait(t.Context(), "3", "first", "en")
		m.questions()
		for n := range 100 {
			all.Class("3", fmt.Sprint("t", n), "en")
		}
		time.Sleep(150 * time.Millisecond)
		if n := strings.Count(m.questions(), ",") + 1; n != 32 {
			t.Errorf("Meta was asked %d times in 150 ms, want 2 times 16", n)
		}
		time.Sleep(2 * time.Minute)
		m.set(func() { m.slow = 0 })
		for n := range 100 {
			all.Wait(t.Context(), "3", fmt.Sprint("t", n), "en")
		}
		if n := templates.Entries(all); n > 50 {
			t.Errorf("%d templates are remembered", n)
		}
	})
}

// BenchmarkClass measures the class of a template that is known, which every message of it needs.
func BenchmarkClass(b *testing.B) {
	m := &meta{stored: map[string]string{"3": "901"}, classes: map[string]map[string]message.Class{"901 order": {"en": message.Marketing}}}
	all := templates.New(templates.Options{Graph: m, Store: m, Numbers: func() []string { return []string{"3"} }, Ready: func(string) bool { return true }})
	all.Wait(b.Context(), "3", "order", "en")
	b.ReportAllocs()
	for b.Loop() {
		if class, known := all.Class("3", "order", "en"); class != message.Marketing || !known {
			b.Fatal(class, known)
		}
	}
}

func TestAccounts(t *testing.T) {
	setup(t, func(t *testing.T, m *meta, all *templates.Templates, _ *bytes.Buffer) {
		m.accounts["2"] = ""
		for _, asked := range []int{2, 0} { // those that are not stored
			got, err := all.Accounts(t.Context())
			if err != nil || got["1"] != "900" || got["2"] != "" || got["3"] != "901" || m.stored["1"] != "900" {
				t.Errorf("%v, %v, stored %v", got, err, m.stored)
			}
			if n := len(m.asked); n != asked {
				t.Errorf("Meta was asked %v", m.asked)
			}
			m.questions()
		}
		time.Sleep(time.Minute)
		m.set(func() { m.accounts["2"] = "902" })
		if got, err := all.Accounts(t.Context()); err != nil || got["2"] != "902" {
			t.Errorf("%v, %v", got, err)
		}
	})
}
