package portfolio_test

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/portfolio"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

const (
	one, sibling, other, owner = "106540352242922", "106540352242923", "106540352242924", "2729063490586005"
	people                     = "sluice:portfolio:{" + owner + "}:people"
)

// fixture is a ledger with two numbers of a portfolio that may write to 100 people, of which 2 are reserved, and its Redis.
type fixture struct {
	*portfolio.Ledger
	t  *testing.T
	db *store.DB
}

func setup(t *testing.T) fixture {
	t.Helper()
	db, err := store.New(t.Context(), redistest.Start(t, "--appendonly", "no").Client())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	f := fixture{portfolio.New(db, portfolio.Window), t, db}
	for _, number := range []string{one, sibling} {
		f.ok(f.Learn(t.Context(), number, owner, 100))
	}
	return f
}

func (f fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func person(i int) (p portfolio.Person) {
	binary.BigEndian.PutUint64(p[:], uint64(i))
	return p
}

// member is how a ledger names a person.
func member(i int) string {
	p := person(i)
	return string(p[:])
}

// admit asks for messages of a number to people from first to last, and returns how many may be sent.
func (f fixture) admit(number string, first, last int, urgent bool) (sent int) {
	f.t.Helper()
	var asks []portfolio.Ask
	for i := first; i <= last; i++ {
		asks = append(asks, portfolio.Ask{Person: person(i), Urgent: urgent})
	}
	may, err := f.Admit(f.t.Context(), number, asks)
	f.ok(err)
	for i, ok := range may {
		if ok {
			sent++
		} else if i < sent {
			f.t.Errorf("message %d was refused before others that were not", i)
		}
	}
	return sent
}

func (f fixture) want(what string, got, want int) {
	f.t.Helper()
	if got != want {
		f.t.Errorf("%s: %d, want %d", what, got, want)
	}
}

// TestLimit: the numbers of a portfolio write to as many people as the limit says, and each person counts once. Urgent messages may
// use what is reserved.
func TestLimit(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.want("first", f.admit(one, 1, 60, false), 60)
	f.want("the same people from the other number", f.admit(sibling, 1, 60, false), 60)
	f.want("more than there is capacity", f.admit(sibling, 61, 120, false), 38)
	f.want("counted people", f.admit(one, 1, 98, false), 98)
	f.want("urgent ones to others", f.admit(one, 201, 210, true), 2)
	f.want("a number of no limited portfolio", f.admit(other, 1, 500, false), 500)
	// The first ten wrote too long ago to count. They make capacity for others.
	old := float64(time.Now().Add(-portfolio.Window - 2*time.Minute - time.Second).UnixMilli())
	for i := 1; i <= 10; i++ {
		f.ok(f.db.ZAdd(t.Context(), people, redis.Z{Score: old, Member: member(i)}).Err())
	}
	f.want("after some have left", f.admit(one, 301, 320, false), 8)
}

// TestLastMessageCounts: a person counts from the last message on.
func TestLastMessageCounts(t *testing.T) {
	t.Parallel()
	f := setup(t)
	early := float64(time.Now().Add(-portfolio.Window + time.Minute).UnixMilli())
	f.ok(f.db.ZAdd(t.Context(), people, redis.Z{Score: early, Member: member(1)}).Err())
	f.want("a counted person", f.admit(one, 1, 1, false), 1)
	if at := f.db.ZScore(t.Context(), people, member(1)).Val(); at <= early {
		t.Errorf("counts from %.0f on, which is not the last message", at)
	}
}

// TestCustomerServiceWindow: a person who wrote to a number within 24 hours needs no capacity, but only for that number.
func TestCustomerServiceWindow(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.want("all capacity", f.admit(one, 1, 98, false), 98)
	now := time.Now()
	f.ok(f.Wrote(t.Context(), one, map[portfolio.Person]time.Time{person(201): now, person(202): now.Add(-portfolio.Window)}))
	f.want("wrote", f.admit(one, 201, 201, false), 1)
	f.want("wrote to another number", f.admit(sibling, 201, 201, false), 0)
	f.want("wrote too long ago", f.admit(one, 202, 202, false), 0)
	for i, want := range map[int]bool{1: true, 201: true, 202: false, 203: false} {
		if passes, err := f.Passes(t.Context(), one, person(i)); err != nil || passes != want {
			t.Errorf("person %d passes: %t, %v", i, passes, err)
		}
	}
	used, err := f.State(t.Context(), one)
	f.ok(err)
	f.want("people", used.Used, 98)
}

// TestRefused: Meta has one code for a portfolio at its limit and for a number that is reported as spam. The portfolio is the cause if
// two of its numbers get it, or if the limit is nearly used. Then Meta's count wins, until people leave the ledger. If it goes on, it is the number.
func TestRefused(t *testing.T) {
	t.Parallel()
	f := setup(t)
	refused := func(what, number string, want bool) {
		t.Helper()
		if reached, err := f.Refused(t.Context(), number); err != nil || reached != want {
			t.Errorf("%s: the portfolio is at its limit: %t, %v; want %t", what, reached, err, want)
		}
	}
	f.want("first", f.admit(one, 1, 50, false), 50)
	refused("a number of no limited portfolio", other, false)
	refused("one number", one, false)
	refused("one number again", one, false)
	f.want("after refusals of one number", f.admit(one, 51, 60, false), 10)
	refused("a second number", sibling, true)
	refused("what had left before", one, true)
	f.want("after the refusal of a second number", f.admit(one, 61, 70, false), 0)
	f.ok(f.db.ZRem(t.Context(), people, member(1), member(2), member(3)).Err())
	f.want("after three have left", f.admit(one, 61, 70, false), 1) // two of them are reserved
	f.ok(f.db.PExpire(t.Context(), "sluice:portfolio:{"+owner+"}:cap", portfolio.Window-time.Hour).Err())
	refused("an hour later", one, false)
	if n, err := f.db.Get(t.Context(), "sluice:portfolio:{"+owner+"}:cap").Int(); err != nil || n != 58 {
		t.Errorf("cap %d, %v; want the 58 that count now", n, err)
	}
}

// TestRefusedAtTheLimit: where nearly all of the limit is used, one refusal shows that it is reached.
func TestRefusedAtTheLimit(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.want("first", f.admit(one, 1, 90, false), 90)
	if reached, err := f.Refused(t.Context(), one); err != nil || !reached {
		t.Errorf("%t, %v", reached, err)
	}
	f.want("after the refusal", f.admit(sibling, 91, 98, false), 0)
}

// TestUnlimitedNeedsNoRedis: numbers of a portfolio without a limit cost no command, and a limit that ends frees all.
func TestUnlimitedNeedsNoRedis(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.want("full", f.admit(one, 1, 120, false), 98)
	f.ok(f.SetLimit(t.Context(), owner, 0))
	before := f.commands()
	f.want("unlimited", f.admit(one, 1, 1000, false), 1000)
	if all, urgent := f.Capacity(one); all < 1000 || urgent < 1000 {
		t.Errorf("capacity for %d and %d", all, urgent)
	}
	if s, err := f.State(t.Context(), one); s != nil || err != nil {
		t.Errorf("state %+v, %v", s, err)
	}
	f.ok(f.Wrote(t.Context(), one, map[portfolio.Person]time.Time{person(1): time.Now()}))
	if after := f.commands(); after != before {
		t.Errorf("commands: %s, were %s", after, before)
	}
}

// commands returns how often Redis ran which command, without those that this test and the client itself send.
func (f fixture) commands() string {
	f.t.Helper()
	var lines []string
	for line := range strings.Lines(f.db.Info(f.t.Context(), "commandstats").Val()) {
		if name, rest, ok := strings.Cut(line, ":"); ok && name != "cmdstat_info" {
			calls, _, _ := strings.Cut(rest, ",")
			lines = append(lines, name+" "+calls)
		}
	}
	return strings.Join(lines, "; ")
}

// TestOtherProcessesLearn: a limit that one process stores is in force in others after they read it.
func TestOtherProcessesLearn(t *testing.T) {
	t.Parallel()
	f := setup(t)
	second := portfolio.New(f.db, portfolio.Window)
	if second.Applies(one) {
		t.Error("it applies before it was read")
	}
	f.ok(second.Load(t.Context()))
	if of, limit := second.Limit(sibling); of != owner || limit != 100 || len(second.Siblings(one)) != 2 {
		t.Errorf("%s %d %v", of, limit, second.Siblings(one))
	}
}

// TestForget: what ledgers have about a person is found and deleted, and an entry without a name takes its place. Meta still counts the person, so
// the ledger does too.
func TestForget(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.want("counted", f.admit(one, 1, 3, false), 3)
	f.ok(f.Wrote(t.Context(), sibling, map[portfolio.Person]time.Time{person(2): time.Now(), person(3): time.Now()}))
	found := func(persons ...portfolio.Person) (all []string) {
		t.Helper()
		entries, err := f.Entries(t.Context(), persons)
		f.ok(err)
		for _, e := range entries {
			if e.Portfolio != owner || time.Since(e.At).Abs() > time.Minute {
				t.Errorf("entry %+v", e)
			}
			all = append(all, e.Number)
		}
		return all
	}
	if got := found(person(2), person(9)); !slices.Equal(got, []string{"", sibling}) {
		t.Errorf("found entries with the numbers %q", got)
	}
	n, err := f.Forget(t.Context(), []portfolio.Person{person(2), person(9)})
	f.ok(err)
	f.want("forgotten", n, 2)
	if got := found(person(2)); len(got) > 0 {
		t.Errorf("left with the numbers %q", got)
	}
	if got := found(person(3)); len(got) != 2 {
		t.Errorf("of another person there are %q", got)
	}
	used, err := f.State(t.Context(), one)
	f.ok(err)
	f.want("people who count", used.Used, 3)
}
