package intake_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/intake"
	"sluice/internal/message"
)

// lateClasses know the class of templates after two seconds.
type lateClasses struct{}

func (lateClasses) Class(_ string, c message.Content) (message.Class, bool) {
	return message.DefaultClass(c), c.Template == ""
}

func (lateClasses) Wait(context.Context, string, message.Content) message.Class {
	time.Sleep(2 * time.Second)
	return message.Marketing
}

// stored is an acceptor that records when messages were stored.
type stored struct {
	nothing
	mu  sync.Mutex
	all map[string]time.Time // "<type> <class> <deadline>"
}

func (s *stored) Accept(ctx context.Context, m message.Message) (message.Acceptance, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[m.Content.Type+" "+string(m.Class)+" "+m.ExpiresAt.Format(time.DateTime)] = time.Now()
	return s.nothing.Accept(ctx, m)
}

func (s *stored) AcceptAll(ctx context.Context, messages []message.Message) []message.AcceptResult {
	return acceptAll(ctx, s.Accept, messages)
}

// TestLateClass: a message whose class is not known yet waits for it, and gets the deadline of that class. It delays no
// other line of a batch, unless a line waits for another one.
func TestLateClass(t *testing.T) {
	t.Parallel()
	const sale = `{"to":"+15551234567","type":"template","template":{"name":"sale","language":{"code":"en"}}}`
	own := `{"from":"` + ours + `","message":` + sale
	for name, c := range map[string]struct{ path, body, answer, want string }{
		"our path":        {"/v1/messages", own + `}`, `"class":"marketing"`, "template marketing 2000-01-08 00:00:00 after 2s"},
		"with a class":    {"/v1/messages", own + `,"class":"utility"}`, `"class":"utility"`, "template utility 2000-01-02 00:00:00 after 0s"},
		"with send_at":    {"/v1/messages", own + `,"send_at":"2000-01-02T00:00:00Z"}`, `"class":"marketing"`, "template marketing 2000-01-09 00:00:00 after 2s"},
		"with a deadline": {"/v1/messages", own + `,"expires_at":"2000-01-01T01:00:00Z"}`, `"class":"marketing"`, "template marketing 2000-01-01 01:00:00 after 2s"},
		"Meta's path":     {metas, metaProduct + sale[1:], `"message_status":"accepted"`, "template marketing 2000-01-08 00:00:00 after 2s"},
		"a batch":         {"/v1/messages/batch", envelope("") + "\n" + own + "}\n" + own + "}\n", `"line":3,"status":202`, "text service 2000-01-02 00:00:00 after 0s, template marketing 2000-01-08 00:00:00 after 2s"},
		"a chain in a batch": {
			"/v1/messages/batch", own + `,"key":"a"}` + "\n" + envelope(`,"after":{"key":"a","state":"sent"}`) + "\n", `"line":2,"status":202`,
			"template marketing 2000-01-08 00:00:00 after 2s, text service 2000-01-03 00:00:00 after 2s",
		},
		"a deadline in a batch": {"/v1/messages/batch", own + `,"expires_at":"2000-01-01T01:00:00Z"}`, `"class":"marketing"`, "template marketing 2000-01-01 01:00:00 after 2s"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				s := &stored{all: map[string]time.Time{}}
				w := direct(intake.Options{Acceptor: s, Reader: nothing{}, Classes: lateClasses{}})("POST", c.path, c.body)
				if w.Code >= 300 || !strings.Contains(w.Body.String(), c.answer) {
					t.Errorf("%d %s", w.Code, w.Body)
				}
				wants := strings.Split(c.want, ", ")
				for _, want := range wants {
					message, after, _ := strings.Cut(want, " after ")
					if at, ok := s.all[message]; !ok || at.Sub(start).String() != after {
						t.Errorf("stored %v at %s, want %s", s.all, start, want)
					}
				}
				if len(s.all) != len(wants) {
					t.Errorf("stored %v", s.all)
				}
			})
		})
	}
}
