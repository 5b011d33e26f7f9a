package templates_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/templates"
)

// meta is a fake of Meta, with the store of accounts.
type meta struct {
	mu       sync.Mutex
	stored   map[string]string // accounts by number
	accounts map[string]string // as Meta names them
	away     bool              // Meta answers with an error
	slow     time.Duration     // how long Meta takes to answer
	asked    []string          // the numbers that Meta was asked about
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

func (m *meta) account(ctx context.Context, number string) (string, error) {
	m.mu.Lock()
	m.asked = append(m.asked, number)
	slow, away := m.slow, m.away
	m.mu.Unlock()
	select {
	case <-time.After(slow):
	case <-ctx.Done():
		return "", ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if away {
		return "", errors.New("HTTP 500")
	}
	return m.accounts[number], nil
}

// questions returns the numbers that Meta was asked about since the last call.
func (m *meta) questions() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	defer func() { m.asked = nil }()
	slices.Sort(m.asked)
	return strings.Join(m.asked, " ")
}

// TestLookup: Meta is asked for accounts that are not stored, once for all callers, and again a minute after a failure. There
// is no token of number 4.
func TestLookup(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m := &meta{stored: map[string]string{"3": "901"}, accounts: map[string]string{"1": "900"}, slow: 100 * time.Millisecond}
		var log bytes.Buffer
		l := templates.NewLookup(templates.LookupOptions{
			Account: m.account, Store: m, Numbers: func() []string { return []string{"1", "2", "3", "4"} }, Ready: func(n string) bool { return n != "4" },
			Log: slog.New(slog.NewTextHandler(&log, nil)),
		})
		expect := func(after time.Duration, asked string, want map[string]string) {
			t.Helper()
			start := time.Now()
			got, err := l.Accounts(t.Context())
			maps.DeleteFunc(got, func(_, account string) bool { return account == "" })
			if err != nil || !maps.Equal(got, want) || time.Since(start) != after {
				t.Errorf("%v, %v after %s; want %v after %s", got, err, time.Since(start), want, after)
			}
			if got := m.questions(); got != asked {
				t.Errorf("Meta was asked about %q, want %q", got, asked)
			}
		}
		var callers sync.WaitGroup
		for range 100 {
			callers.Go(func() { l.Accounts(t.Context()) })
		}
		callers.Wait()
		expect(0, "1 2", map[string]string{"1": "900", "3": "901"})
		if m.stored["1"] != "900" || !strings.Contains(log.String(), "phone_number_id=2") {
			t.Errorf("stored %v, log %s", m.stored, &log)
		}
		m.mu.Lock()
		m.accounts["2"], m.away = "902", true
		m.mu.Unlock()
		time.Sleep(time.Minute)
		expect(100*time.Millisecond, "2", map[string]string{"1": "900", "3": "901"})
		m.mu.Lock()
		m.away = false
		m.mu.Unlock()
		expect(0, "", map[string]string{"1": "900", "3": "901"})
		time.Sleep(time.Minute)
		expect(100*time.Millisecond, "2", map[string]string{"1": "900", "2": "902", "3": "901"})

		m.mu.Lock()
		m.slow = time.Hour
		m.stored = map[string]string{"3": "901"}
		m.mu.Unlock()
		time.Sleep(2 * time.Hour) // the answers are old: the known ones stay in use while Meta is asked again
		if got, err := l.Accounts(t.Context()); err != nil || got["1"] != "900" || got["2"] != "902" {
			t.Errorf("%v, %v", got, err)
		}
		time.Sleep(time.Minute)
	})
}
