package repository_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/repository"
)

// A message is sent with Meta's ids of the messages that it names, waits as long as Meta may still give one, and is not
// sent if there will be none.
func TestTranslate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	named := repository.NewNamed(ledger.New(f.db, ledger.Options{}))
	for name, c := range map[string]struct {
		move message.Move // of the named message; empty: it is queued
		want error
	}{
		"queued":           {message.Move{}, message.ErrNamedWaits},
		"in doubt":         {message.Move{To: message.InDoubt, In: time.Minute}, message.ErrNamedWaits},
		"submitted":        {message.Move{To: message.Submitted, WAMID: "wamid.x"}, nil},
		"without an id":    {message.Move{To: message.Submitted}, message.ErrNamedWaits},
		"rejected":         {message.Move{To: message.Rejected, Keep: true}, message.ErrNamedNotSent},
		"dead":             {message.Move{To: message.Dead, Keep: true}, message.ErrNamedNotSent},
		"never been there": {message.Move{}, message.ErrNamedNotSent},
	} {
		id := message.NewID(number, "nosuch")
		if name != "never been there" {
			id = f.accept(name)
		}
		if c.move.To != "" {
			f.attempt(id, c.move)
		}
		object := `{"messaging_product":"whatsapp","context":{"message_id":"` + id + `"},"type":"text","text":{"body":"hi"}}`
		got, err := named.Translate(t.Context(), number, []byte(object))
		if want := strings.Replace(object, id, "wamid.x", 1); !errors.Is(err, c.want) || err == nil && string(got) != want {
			t.Errorf("%s: %s %v, want %v", name, got, err, c.want)
		}
	}
	plain := `{"messaging_product":"whatsapp","type":"text","text":{"body":"hi"}}`
	if got, err := named.Translate(t.Context(), number, []byte(plain)); string(got) != plain || err != nil {
		t.Errorf("%s %v", got, err)
	}
}
