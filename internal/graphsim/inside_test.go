package graphsim

import (
	"bytes"
	"mime/multipart"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/content"
)

// TestUploadIsTooLarge: what is larger than the largest upload is refused before it has been read. To read 100 MB takes the race
// detector half a minute.
func TestUploadIsTooLarge(t *testing.T) {
	t.Parallel()
	sim := New(Options{})
	if sim.media.most != maxMedia {
		t.Errorf("an upload may have %d bytes", sim.media.most)
	}
	sim.media.most = 1 << 10
	var form bytes.Buffer
	w := multipart.NewWriter(&form)
	part, err := w.CreateFormFile("file", "a.pdf")
	if err != nil {
		t.Fatal(err)
	}
	part.Write(make([]byte, 2<<10))
	w.Close()
	r := httptest.NewRequest("POST", "/v25.0/106540352242922/media", &form)
	r.Header.Set("Authorization", "Bearer token")
	r.Header.Set("Content-Type", w.FormDataContentType())
	answer := httptest.NewRecorder()
	sim.Handler().ServeHTTP(answer, r)
	if text := answer.Body.String(); answer.Code != 400 || !strings.Contains(text, "larger than 100 MB") || !strings.Contains(text, "131053") {
		t.Errorf("%d %s", answer.Code, text)
	}
}

func TestWindow(t *testing.T) {
	t.Parallel()
	l := newLimit()
	begin := time.Now()
	for i, c := range []struct {
		at      time.Duration
		ok      bool
		largest int
	}{
		{0, true, 1},
		{900 * time.Millisecond, true, 2},
		{999 * time.Millisecond, false, 3},
		{1000 * time.Millisecond, true, 0}, // the first has left; the refused one does not count against it
		{1899 * time.Millisecond, false, 4},
		{1900 * time.Millisecond, true, 0},
		{1800 * time.Millisecond, false, 5}, // late to the lock: as if it came at 1900 ms
	} {
		ok, largest := l.admit("1", begin.Add(c.at), 2)
		if ok != c.ok || largest != c.largest {
			t.Errorf("arrival %d at %v: %v, largest %d; want %v, %d", i, c.at, ok, largest, c.ok, c.largest)
		}
	}
}

func TestQueueHandsOutWhatIsDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQueue()
		begin := time.Now()
		in := func(d time.Duration, name string) *parcel {
			return &parcel{due: begin.Add(d), reports: []report{{number: name}}}
		}
		q.put(in(3*time.Second, "c"), in(2*time.Second, "d"), in(time.Second, "a"), in(time.Second, "b"))
		go func() {
			time.Sleep(500 * time.Millisecond)
			q.put(in(700*time.Millisecond, "early"))
		}()
		want := []struct {
			at    time.Duration
			names []string
		}{
			{700 * time.Millisecond, []string{"early"}},
			{time.Second, []string{"a", "b"}},
			{2 * time.Second, []string{"d"}},
			{2 * time.Second, []string{"a", "b"}}, // put back: goes out again as it was
			{2 * time.Second, []string{"e"}},
			{3 * time.Second, []string{"c"}},
		}
		for i, w := range want {
			p, ok := q.next(t.Context(), 10)
			var names []string
			for _, r := range p.reports {
				names = append(names, r.number)
			}
			if at := time.Since(begin); !ok || at != w.at || !slices.Equal(names, w.names) {
				t.Errorf("got %q at %v, want %q at %v", names, at, w.names, w.at)
			}
			if i == 1 {
				p.tries, p.body, p.due = 1, []byte("{}"), begin.Add(2*time.Second)
				q.putBack(p)
				q.put(in(2*time.Second, "e"))
				continue
			}
			q.done(p)
		}
		if err := q.drained(t.Context()); err != nil || q.waiting() != 0 {
			t.Errorf("%d left: %v", q.waiting(), err)
		}
	})
}

func TestNoReportTellsOfTheFuture(t *testing.T) {
	t.Parallel()
	o := Webhook{URL: "http://unused.invalid", Delay: Span{time.Hour, 2 * time.Hour}, Read: 1, Double: 1, Shuffle: 1}
	s := New(Options{Webhook: o})
	for range 20 {
		s.hooks.follow("1", "wamid.x", request{recipient: "16505551234"}, 0)
	}
	for _, p := range s.hooks.queue.parcels {
		if first := p.reports[0].status; first.Time > seconds(p.due) {
			t.Errorf("%s of %s leaves at %s", first.Status, first.Time, seconds(p.due))
		}
	}
	if got := len(s.hooks.queue.parcels); got != 20*6 {
		t.Errorf("%d parcels", got)
	}
}

func TestPauses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		span  Span
		tries int
		want  time.Duration
	}{
		{Span{1, 30}, 1, 1}, {Span{1, 30}, 4, 8}, {Span{1, 30}, 6, 30}, {Span{1, 30}, 1000, 30}, {Span{5, 0}, 9, 5},
	} {
		if got := pauses(c.span).After(c.tries); got != c.want {
			t.Errorf("pauses of %v after %d tries: %d, want %d", c.span, c.tries, got, c.want)
		}
	}
}

func TestSpanText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Span{
		"20ms":       {20 * time.Millisecond, 20 * time.Millisecond},
		"20ms..1.5s": {20 * time.Millisecond, 1500 * time.Millisecond},
		"0s":         {},
	} {
		var got Span
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
		if back, err := got.MarshalText(); err != nil || string(back) != text {
			t.Errorf("%q came back as %q, %v", text, back, err)
		}
	}
	for _, text := range []string{"", "20", "2s..1s", "-1s", "1s..", "..1s"} {
		if err := new(Span).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	if got, want := string(escape([]byte(`"a/ä€😀"`))), `"a\/\u00e4\u20ac\ud83d\ude00"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Every code that the simulator can answer with or report must be one of Meta's, and must have a
// series from the start, except those that represent an unlisted code.
func TestCodesAreMetas(t *testing.T) {
	t.Parallel()
	for _, code := range codes {
		n, err := strconv.Atoi(code)
		if e, ok := cloudapi.Lookup(n); err != nil || !ok || e.Title == "" || e.Meaning == "" {
			t.Errorf("%s is not in the catalogue: %+v", code, e)
		}
	}
	for digits, f := range endings {
		if len(digits) != 6 {
			t.Errorf("%q is not six digits", digits)
		}
		if f.code != 0 && !unlisted(f.code) && !slices.Contains(codes, strconv.Itoa(f.code)) {
			t.Errorf("%d has no series", f.code)
		}
		if _, ok := cloudapi.Lookup(f.failed); f.failed != 0 && !unlisted(f.failed) && !ok {
			t.Errorf("%d is not in the catalogue", f.failed)
		}
	}
}

// Every rule has an answer, and the rules that Meta does not have exist. For a new rule, decide here and in content.MetaCode whether
// its answer is the usual one.
func TestEveryRuleHasAnAnswer(t *testing.T) {
	t.Parallel()
	rules := map[string]bool{}
	for _, rule := range content.Rules() {
		rules[rule.Code] = true
		answer := answerTo(rule.Code)
		failed, passes := passed[rule.Code]
		if !passes && answer.code == 0 {
			t.Errorf("%s (%s) has no answer", rule.Code, rule.Breach)
		}
		for _, code := range []int{answer.code, failed} {
			if _, ok := cloudapi.Lookup(code); code != 0 && !ok {
				t.Errorf("%s: %d is not in the catalogue", rule.Code, code)
			}
		}
		if answer.code != 0 && !slices.Contains(codes, strconv.Itoa(answer.code)) {
			t.Errorf("%s: %d has no series from the start", rule.Code, answer.code)
		}
	}
	for code := range passed {
		if !rules[code] {
			t.Errorf("%s is no rule", code)
		}
	}
}

func TestPairLimit(t *testing.T) {
	t.Parallel()
	b := newRecipientLimits()
	begin := time.Now()
	for range pairBurst {
		if !b.pair("1", "a", begin) {
			t.Fatal("refused within the credit")
		}
	}
	for i, c := range []struct {
		number, person string
		at             time.Duration
		ok             bool
	}{
		{"1", "a", 0, false},
		{"1", "b", 0, true},
		{"2", "a", 0, true},
		{"1", "a", pairEvery - 1, false},
		{"1", "a", pairEvery, true}, // one message's time has passed
		{"1", "a", pairEvery, false},
		{"1", "a", 3 * pairEvery, true},
		{"1", "a", 3 * pairEvery, true},
		{"1", "a", 3 * pairEvery, false},
		{"1", "a", time.Hour, true},
	} {
		if got := b.pair(c.number, c.person, begin.Add(c.at)); got != c.ok {
			t.Errorf("%d: %s to %s at %v: %v", i, c.number, c.person, c.at, got)
		}
	}
}

func TestPairLimitForgets(t *testing.T) {
	t.Parallel()
	b := newRecipientLimits()
	now := time.Now()
	for i := range 100_000 {
		b.pair("1", strconv.Itoa(i), now.Add(time.Duration(i)*time.Millisecond))
	}
	if len(b.free) > 20_000 { // 6,000 pairs are short of credit at the end
		t.Errorf("%d pairs are remembered", len(b.free))
	}
}

func TestPortfolioLimit(t *testing.T) {
	t.Parallel()
	b := newRecipientLimits()
	begin := time.Now()
	for i, c := range []struct {
		person string
		at     time.Duration
		ok     bool
	}{
		{"a", 0, true},
		{"a", 0, true},
		{"b", time.Hour, true},
		{"c", time.Hour, false},
		{"a", 2 * time.Hour, true},
		{"c", day - 1, false},
		{"c", day, true},
		{"a", day, false},
		{"a", day + time.Hour, true},
	} {
		if got := b.open(c.person, begin.Add(c.at), 2, day); got != c.ok {
			t.Errorf("%d: %s at %v: %v", i, c.person, c.at, got)
		}
	}
}

// A change of the set-up does not extend an old token. A new token has its own expiry.
func TestTokenTimeRunsOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Account: Account{Token: Token{Value: "old", ExpiresIn: Duration(time.Hour)}}})
		for i, c := range []struct {
			after time.Duration
			alter func(*Account)
			token string
			ok    bool
		}{
			{59 * time.Minute, func(a *Account) { a.Name = "x" }, "old", true},
			{2 * time.Minute, func(a *Account) { a.Name = "y" }, "old", false},
			{0, func(a *Account) { a.Token.Value = "new" }, "old", false},
			{59 * time.Minute, func(a *Account) { a.Token.Scopes = []string{scopeMessaging} }, "new", true},
			{2 * time.Minute, func(*Account) {}, "new", false},
			{0, func(a *Account) { a.Token.ExpiresIn = 0 }, "new", true},
		} {
			time.Sleep(c.after)
			if err := s.change(func(a *Account) error { c.alter(a); return nil }); err != nil {
				t.Fatal(err)
			}
			if d := s.standing.Load().judge(c.token, time.Now()); (d == nil) != c.ok {
				t.Errorf("%d: %+v", i, d)
			}
		}
	})
}
