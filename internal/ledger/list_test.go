package ledger_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/store"
)

// pages lists messages page by page, and calls between after each page but the last. It fails when a page has
// more than limit messages that are not sent.
func (f fixture) pages(filter message.ListFilter, limit int, between func()) (ids []string) {
	f.t.Helper()
	var from message.ListPosition
	for {
		some, next, err := f.List(f.t.Context(), filter, from, limit)
		if err != nil {
			f.t.Fatal(err)
		}
		n := 0
		for _, r := range some {
			ids = append(ids, r.ID)
			if r.State != message.Sent {
				n++
			}
		}
		if n > limit {
			f.t.Errorf("a page of at most %d messages has %d", limit, n)
		}
		if next == nil {
			return ids
		}
		from = *next
		if between != nil {
			between()
		}
	}
}

func (f fixture) wantList(what string, filter message.ListFilter, want ...string) {
	f.t.Helper()
	slices.Sort(want)
	for _, limit := range []int{1, 3, 100} {
		got := f.pages(filter, limit, nil)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			f.t.Errorf("%s, %d on a page: %q, want %q", what, limit, got, want)
		}
	}
}

// TestList: every message that has a record is listed by its state, its tag, its sender and the time of its
// state, once, however small the pages are.
func TestList(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		by := map[message.State]string{}
		ended := func(st message.State, m message.Move, status ...string) {
			a := f.attempting(string(st))
			f.finished(a, m)
			for _, s := range status {
				f.wantResult(message.Applied, report(a.ID, 1, m.WAMID, s))
			}
			by[st] = a.ID
		}
		by[message.Queued] = f.accepted("queued")
		by[message.Attempting] = f.attempting("attempting").ID
		by[message.InDoubt] = f.dead("in doubt", inDoubt)
		by[message.Parked] = f.parked("parked")
		ended(message.Submitted, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		ended(message.Sent, message.Move{To: message.Submitted, WAMID: "wamid.2"}, "sent")
		ended(message.Delivered, message.Move{To: message.Submitted, WAMID: "wamid.3"}, "sent", "delivered")
		ended(message.Read, message.Move{To: message.Submitted, WAMID: "wamid.4"}, "sent", "delivered", "read")
		ended(message.Played, message.Move{To: message.Submitted, WAMID: "wamid.5"}, "delivered", "read", "played")
		ended(message.Failed, message.Move{To: message.Submitted, WAMID: "wamid.6"}, "failed")
		ended(message.Rejected, message.Move{To: message.Rejected, Code: 131047, Keep: true})
		by[message.Dead] = f.dead("dead", used)
		by[message.Expired], by[message.Cancelled] = f.accepted("expired"), f.accepted("cancelled")
		f.moved(f.look(by[message.Expired]), message.Move{To: message.Expired, Reason: message.ReasonDeadline, Keep: true})
		if _, err := f.Cancel(t.Context(), by[message.Cancelled]); err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, st := range message.States() {
			if by[st] == "" {
				t.Fatalf("the test has no message that is %s", st)
			}
			f.wantState(by[st], st)
			f.wantList(string(st), message.ListFilter{States: []message.State{st}}, by[st])
			all = append(all, by[st])
		}
		f.wantList("two states", message.ListFilter{States: []message.State{message.Read, message.Parked}}, by[message.Read], by[message.Parked])
		f.wantList("all", message.ListFilter{}, all...)

		other := newMessage("other")
		other.ID, other.From, other.Tags = message.NewID("1999", "other"), "1999", []string{"autumn"}
		f.acceptedAs(other)
		f.wantList("a tag", message.ListFilter{Tag: "spring"}, all...)
		f.wantList("another tag", message.ListFilter{Tag: "autumn"}, other.ID)
		f.wantList("a sender", message.ListFilter{Numbers: []string{number}}, all...)
		f.wantList("senders", message.ListFilter{Numbers: []string{"1999", number}}, append(all, other.ID)...)
		f.wantList("no sender", message.ListFilter{Numbers: []string{}})
		f.wantList("later", message.ListFilter{Since: time.Now().Add(time.Minute)})
		f.wantList("earlier", message.ListFilter{Until: time.Now().Add(-time.Minute)})
		f.wantList("since a minute", message.ListFilter{Since: time.Now().Add(-time.Minute), Until: time.Now().Add(time.Minute), Tag: "spring"}, all...)
	})
}

// TestListWhileMessagesMove: between two pages messages before and after the position leave the list and others
// join it. What is in the list all the time is listed once.
func TestListWhileMessagesMove(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		deadline := time.Now().Add(time.Hour).Truncate(time.Millisecond).UTC()
		add := func(n int, key string) (ids []string) {
			some := make([]ledger.Accepting, n)
			for i := range some {
				m := newMessage(fmt.Sprint(key, i))
				m.Ref, m.ExpiresAt = "", deadline // all of one moment: the ids decide on their order
				some[i] = f.accepting(m)
				ids = append(ids, m.ID)
			}
			for _, r := range f.Accept(t.Context(), some) {
				if r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			return ids
		}
		ids := add(700, "first")
		slices.Sort(ids)
		var stay []string
		for i, id := range ids {
			if i%7 == 0 {
				stay = append(stay, id)
			}
		}
		page := 0
		got := f.pages(message.ListFilter{States: []message.State{message.Queued}}, 150, func() {
			page++
			add(40, fmt.Sprint("more", page)) // before and after the position
			for i, id := range ids {
				if i/250 == page-1 && i%7 != 0 { // the last entry that was read among them
					if st, err := f.Cancel(t.Context(), id); err != nil || st != message.Cancelled {
						t.Fatal(st, err)
					}
				}
			}
		})
		if page < 3 {
			t.Fatalf("%d pages", page)
		}
		times := map[string]int{}
		for _, id := range got {
			times[id]++
		}
		for _, id := range stay {
			if times[id] != 1 {
				t.Errorf("%s is listed %d times", id, times[id])
			}
		}
	})
}

// TestAnHourHasAMessageOnce: a message that is delivered and read within an hour is in the list of that hour once.
func TestAnHourHasAMessageOnce(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		a := f.attempting("1")
		f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid.1"})
		for _, status := range []string{"delivered", "read", "played"} {
			f.wantResult(message.Applied, report(a.ID, 1, "wamid.1", status))
		}
		r := f.read(a.ID)
		hour := r.Since().Add(24*time.Hour).Unix() / 3600
		got := f.db.LRange(t.Context(), store.Key(f.shard, fmt.Sprint("ended:", hour)), 0, -1).Val()
		if strings.Join(got, " ") != a.ID && r.Since().Unix()/3600 == r.Timeline[0].At.Unix()/3600 {
			t.Errorf("the list of its hour has %q", got)
		}
	})
}
