package message_test

import (
	"testing"

	"sluice/internal/message"
)

func TestAmount(t *testing.T) {
	t.Parallel()
	for a, want := range map[message.Amount]string{0: "0.00", 1: "0.000001", 55_000: "0.055", 1_500_000: "1.50", -1_250_000: "-1.25"} {
		if got := a.String(); got != want {
			t.Errorf("%d: %s, want %s", a, got, want)
		}
	}
}
