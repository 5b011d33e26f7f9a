package pages_test

import (
	"testing"
	"time"
)

func TestIdleX(t *testing.T) {
	s := setup(t)
	b := s.signIn("admin")
	i := b.order(t, "send", rows(10)+rows(400))
	for !i.next().Next {
	}
	i.chunk()
	begin := time.Now()
	for time.Since(begin) < 170*time.Second {
		m := i.next()
		if m.End != nil || m.Note != "" {
			t.Logf("%s %+v %q", time.Since(begin), m.End, m.Note)
			if m.End != nil {
				return
			}
		}
	}
	i.chunk()
	t.Logf("%+v", i.finish().End)
}
