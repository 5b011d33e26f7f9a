package holds_test

import (
	"slices"
	"testing"

	"sluice/internal/holds"
)

func TestSiblingsAreOfTheSameAccount(t *testing.T) {
	t.Parallel()
	db, _, _ := setup(t)
	a := holds.NewAccounts(db)
	for number, account := range map[string]string{"1": "500", "2": "500", "3": "600"} {
		if err := a.Note(t.Context(), number, account); err != nil {
			t.Fatal(err)
		}
	}
	for number, want := range map[string][]string{"1": {"2"}, "2": {"1"}, "3": nil, "4": nil} {
		if got, err := a.Siblings(t.Context(), number); !slices.Equal(got, want) || err != nil {
			t.Errorf("%s: %v, %v; want %v", number, got, err, want)
		}
	}
}
