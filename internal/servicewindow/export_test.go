package servicewindow

import (
	"context"
	"time"
)

// Tidy is what Run does again and again.
func (w *Windows) Tidy(ctx context.Context) error { return w.tidy(ctx) }

// BrokenFor lets an outage be as old.
func (w *Windows) BrokenFor(d time.Duration) { w.broken = w.broken.Add(-d) }

// Field names a number in the hash of the tracked ones.
func (w *Windows) Field(number string) string { return w.field(number) }
