package queue

import (
	"fmt"
	"testing"

	"sluice/internal/message"
)

func TestTheEncoderWritesWhatAsynqWrites(t *testing.T) {
	t.Parallel()
	e := newEncoder()
	for _, id := range []string{"m", "m0", phone + "-abc", message.NewID(phone, ""), fmt.Sprint(1<<30, "-", string(make([]byte, 90)))} {
		for _, k := range []int{0, 7, 10, 12345} {
			got, err := e.encode("s07}:1:utility", id, TaskID{id, k}.String())
			want, theirs := e.byAsynq("s07}:1:utility", id, TaskID{id, k}.String())
			if err != nil || theirs != nil || got != want {
				t.Errorf("%q, %d: %q (%v), asynq %q (%v)", id, k, got, err, want, theirs)
			}
		}
	}
}
