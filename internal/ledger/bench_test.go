package ledger_test

import (
	"fmt"
	"testing"

	"sluice/internal/message"
	"sluice/internal/redistest"
)

// BenchmarkBeginFinish is what the ledger adds to an attempt, on a Redis that keeps its
// promises.
func BenchmarkBeginFinish(b *testing.B) {
	f := newFixture(b, redistest.Client(b))
	id := f.accepted("k1")
	n := 0
	for b.Loop() {
		n++
		a := f.begun(id, 0, fmt.Sprintf("w/%d", n))
		f.finished(a, message.Move{To: message.Queued})
	}
}

// BenchmarkFold200 folds what the reconciler takes at once.
func BenchmarkFold200(b *testing.B) {
	f := newFixture(b, redistest.Client(b))
	const size = 200
	ids := make([]string, size)
	for i := range ids {
		ids[i] = f.accepted(fmt.Sprint(i))
		f.finished(f.begun(ids[i], 0, "w/1"), message.Move{To: message.Submitted, WAMID: fmt.Sprintf("wamid.%d", i)})
	}
	statuses := []string{"sent", "delivered", "read"}
	n := 0
	for b.Loop() {
		batch := make([]message.Evidence, size)
		for i := range batch {
			batch[i] = evidence("", 0, fmt.Sprintf("wamid.%d", i), statuses[min(n, 2)])
		}
		f.fold(batch...)
		n++
	}
}
