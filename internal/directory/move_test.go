package directory_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"sluice/internal/directory"
)

// TestMoveToAnotherNumber: the messages of a number can only move to another number of the same account and client that stays. That
// number is not removed before the other one is. Its process knows whose messages it took, until the other number is in use again.
func TestMoveToAnotherNumber(t *testing.T) {
	t.Parallel()
	in := setup(t)
	accounts := map[string]string{"10": "900", "20": "900", "30": "901", "50": "900", "60": "900"}
	s := directory.NewStore(directory.StoreOptions{
		DB: in.db, File: file, Unfinished: func(context.Context, string) (int, error) { return 1, nil },
		Accounts: func(context.Context) (map[string]string, error) { return accounts, nil },
	})
	in.put(s, directory.Client{Name: "acme"}, nil, 0)
	for id, client := range map[string]string{"30": "", "40": "", "50": "acme", "60": ""} {
		in.put(s, directory.Number{PhoneNumberID: id, Client: client}, nil, 0)
	}
	if _, err := s.RemoveNumber(t.Context(), "60", directory.BacklogDrain, "", change); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ backlog, to, want string }{
		{directory.BacklogMove, "", "to: the number that takes the messages is missing"},
		{directory.BacklogMove, "10", "to: phone number id 10 is the number that is removed"},
		{directory.BacklogMove, "11", "to: phone number id 11 is not configured"},
		{directory.BacklogMove, "60", "to: phone number id 60 is being removed itself"},
		{directory.BacklogMove, "50", "to: phone number id 50 does not belong to the client"},
		{directory.BacklogMove, "40", "to: the WhatsApp Business Account of phone number id 40 is not known yet"},
		{directory.BacklogMove, "30", "to: phone number id 30 belongs to the WhatsApp Business Account 901, and the number that is removed to 900"},
		{directory.BacklogDrain, "20", "to: only backlog move"},
	} {
		_, err := s.RemoveNumber(t.Context(), "10", c.backlog, c.to, change)
		if _, ok := errors.AsType[*directory.InvalidError](err); !ok || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s to %q: %v, want %s", c.backlog, c.to, err, c.want)
		}
	}
	if now, err := s.RemoveNumber(t.Context(), "10", directory.BacklogMove, "20", change); now || err != nil {
		t.Fatalf("%t, %v", now, err)
	}
	d := in.process(s)
	how, revision := d.Leaving("10")
	if how != directory.BacklogMove || d.LeavingTo("10") != "20" || !slices.Equal(d.MovedTo("20"), []string{"10"}) || d.MovedTo("10") != nil {
		t.Errorf("%s to %s; moved to 20: %v", how, d.LeavingTo("10"), d.MovedTo("20"))
	}
	if _, err := s.RemoveNumber(t.Context(), "20", directory.BacklogDrain, "", change); err == nil || !strings.Contains(err.Error(), "takes the messages of phone number id 10") {
		t.Errorf("%v", err)
	}
	if err := s.Remove(t.Context(), directory.KindNumber, "10", directory.Change{Revision: revision, Actor: "sluice"}); err != nil {
		t.Fatal(err)
	}
	if d := in.process(s); d.Known("10") || !slices.Equal(d.MovedTo("20"), []string{"10"}) {
		t.Errorf("after the removal: %v", d.MovedTo("20"))
	}
	if _, err := s.RemoveNumber(t.Context(), "20", directory.BacklogMove, "10", change); err == nil || !strings.Contains(err.Error(), "to: phone number id 10 is not configured") {
		t.Errorf("to a number that has moved: %v", err)
	}
	accounts["70"] = "900"
	in.put(s, directory.Number{PhoneNumberID: "70"}, nil, 0)
	if _, err := s.RemoveNumber(t.Context(), "20", directory.BacklogMove, "70", change); err != nil {
		t.Fatal(err)
	}
	if d := in.process(s); !slices.Equal(d.MovedTo("70"), []string{"20", "10"}) {
		t.Errorf("over another number: %v", d.MovedTo("70"))
	}
	in.put(s, directory.Number{PhoneNumberID: "10"}, nil, directory.AnyRevision)
	if d := in.process(s); !slices.Equal(d.MovedTo("70"), []string{"20"}) || d.LeavingTo("10") != "" {
		t.Errorf("when the number is in use again: %v", d.MovedTo("70"))
	}
}
