package ledger_test

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/redistest"
)

// commands counts what a Redis has run.
func (f fixture) commands() (n int) {
	f.t.Helper()
	text, err := f.db.Info(f.t.Context(), "commandstats").Result()
	if err != nil {
		f.t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`calls=(\d+)`).FindAllStringSubmatch(text, -1) {
		calls, _ := strconv.Atoi(m[1])
		n += calls
	}
	return n
}

// benchmark runs each step for that many messages at once, on a durable Redis, and reports the cost of a message.
func benchmark(b *testing.B, step string) {
	for _, size := range []int{1, 20, 200} {
		b.Run(fmt.Sprint(size, " at once"), func(b *testing.B) {
			f := newFixture(b, redistest.Client(b))
			round, ran, n := 0, 0, 0
			for b.Loop() {
				b.StopTimer()
				round++
				l := newLife(f, round, size)
				for _, s := range steps {
					before := f.commands()
					if s.name == step {
						b.StartTimer()
					}
					s.run(l)
					if s.name == step {
						b.StopTimer()
						ran, n = ran+f.commands()-before-1, n+size
						break
					}
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/message")
			b.ReportMetric(float64(ran)/float64(n), "commands/message")
		})
	}
}

// life is some messages that live at the same time.
type life struct {
	fixture
	all      []ledger.Accepting
	known    []record.Record
	attempts []message.Attempt
	reports  []message.MarkedReport
}

func newLife(f fixture, round, size int) *life {
	l := &life{fixture: f, attempts: make([]message.Attempt, size)}
	for i := range size {
		m := newMessage(fmt.Sprint(round, "-", i))
		m.Ref, m.Payload = "", []byte(`{"type":"text","text":{"body":"`+strings.Repeat("x", 550)+`"}}`)
		l.all = append(l.all, f.accepting(m))
		l.reports = append(l.reports, report(m.ID, 1, "wamid."+m.ID, "sent"))
	}
	return l
}

func (l *life) must(err error) {
	if err != nil {
		l.t.Fatal(err)
	}
}

// steps are the steps of a life that the ledger takes part in.
var steps = []struct {
	name string
	run  func(l *life)
}{
	{"accept", func(l *life) {
		for _, r := range l.Accept(l.t.Context(), l.all) {
			l.must(r.Err)
		}
	}},
	{"read", func(l *life) {
		var ids []string
		for _, a := range l.all {
			ids = append(ids, a.Message.ID)
		}
		var err error
		l.known, err = l.ReadAll(l.t.Context(), l.shard, ids)
		l.must(err)
	}},
	{"begin", func(l *life) {
		together(len(l.all), func(i int) {
			var err error
			l.attempts[i], err = l.Begin(l.t.Context(), l.known[i].ID, 0, fmt.Sprint("w/", i), &l.known[i])
			if err != nil || l.attempts[i].Verdict != message.Go {
				l.t.Errorf("%+v, %v", l.attempts[i], err)
			}
		})
	}},
	{"finish", func(l *life) {
		together(len(l.all), func(i int) {
			l.finished(l.attempts[i], message.Move{To: message.Submitted, WAMID: "wamid." + l.attempts[i].ID})
		})
	}},
	{"apply", func(l *life) { l.apply(l.reports...) }},
}

func BenchmarkAccept(b *testing.B) { benchmark(b, "accept") }
func BenchmarkBegin(b *testing.B)  { benchmark(b, "begin") }
func BenchmarkFinish(b *testing.B) { benchmark(b, "finish") }
func BenchmarkApply(b *testing.B)  { benchmark(b, "apply") }
