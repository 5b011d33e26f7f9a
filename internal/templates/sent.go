package templates

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// sentEvery is how often a Sent stores what is new.
	sentEvery = time.Minute
	// sentKept is how long the days of a number are kept after its last message: longer than Meta keeps an unused template.
	sentKept = 400 * 24 * time.Hour
	day      = 24 * time.Hour
)

// sentKey is a hash of the days on which Meta last took a message of a number: by message.TemplateID, days since 1970.
func sentKey(number string) string { return "sluice:templates:sent:" + number }

// Sent stores on which day Meta last took a message of each template: Meta archives templates that are not used, and does not say
// when they were. It is safe for concurrent use.
type Sent struct {
	store *Store
	log   *slog.Logger

	mu    sync.Mutex
	noted map[use]int64 // the last day of each
	due   map[use]int64 // those of noted that are not stored
}

// use is the use of a template by a number.
type use struct{ number, template string }

// NewSent returns a Sent that stores nothing until Run runs.
func NewSent(s *Store, log *slog.Logger) *Sent {
	return &Sent{store: s, log: log, noted: map[use]int64{}, due: map[use]int64{}}
}

// Note notes that Meta took a message of a template now. It does not block.
func (s *Sent) Note(number, template string) {
	u, today := use{number, template}, time.Now().UnixMilli()/day.Milliseconds()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noted[u] != today {
		s.noted[u], s.due[u] = today, today
	}
}

// Run stores what is new every minute until ctx ends, and then once more. It returns nil.
func (s *Sent) Run(ctx context.Context) error {
	tick := time.NewTicker(sentEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
		s.flush(context.WithoutCancel(ctx))
	}
	return nil
}

// flush stores what is new. After an error it is due again.
func (s *Sent) flush(ctx context.Context) {
	s.mu.Lock()
	due := s.due
	s.due = map[use]int64{}
	s.mu.Unlock()
	if len(due) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	err := s.store.db.Pipe(ctx, func(p redis.Pipeliner) {
		for u, day := range due {
			p.HSet(ctx, sentKey(u.number), u.template, day)
			p.Expire(ctx, sentKey(u.number), sentKept)
		}
	})
	if err == nil {
		return
	}
	s.log.Warn("cannot store when templates were last used, will retry", "err", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	for u := range due {
		s.due[u] = s.noted[u]
	}
}

// LastSent returns the begin of the day on which Meta last took a message of each template from one of the numbers, by
// message.TemplateID.
func (s *Store) LastSent(ctx context.Context, numbers []string) (map[string]time.Time, error) {
	days := make([]*redis.MapStringStringCmd, len(numbers))
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, n := range numbers {
			days[i] = p.HGetAll(ctx, sentKey(n))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read when templates were last used: %w", err)
	}
	last := map[string]time.Time{}
	for _, of := range days {
		for template, text := range of.Val() {
			n, _ := strconv.ParseInt(text, 10, 64)
			if at := time.UnixMilli(n * day.Milliseconds()); at.After(last[template]) {
				last[template] = at
			}
		}
	}
	return last, nil
}
