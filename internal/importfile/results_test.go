package importfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestResultsGoOn: a run goes on with the results of another one, which was killed while it wrote a line. Each row has one line.
func TestResultsGoOn(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "results.csv")
	first, err := OpenResults(name)
	if err != nil {
		t.Fatal(err)
	}
	ok := Result{Line: 2, Key: "a", ID: "1-a", Result: Accepted}
	wrong := Result{Line: 3, Key: "b\nb", Result: Refused, Code: "text_too_long", Text: "422: too long\n  message.text.body: \"x\", y"}
	for _, v := range []Result{ok, wrong, {Line: 4, Key: "c", ID: "1-c", Result: Duplicate}} {
		if err := first.Add(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const want = "line,key,id,result,code,mistake\n2,a,1-a,accepted,,\n3,b b,,refused,text_too_long,\"422: too long message.text.body: \"\"x\"\", y\"\n4,c,1-c,duplicate,,\n"
	if string(whole) != want {
		t.Fatalf("%s\nwant\n%s", whole, want)
	}
	for cut := range len(whole) + 1 { // wherever it was killed
		os.WriteFile(name, whole[:cut], 0o600)
		r, err := OpenResults(name)
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		for _, v := range []Result{ok, wrong, {Line: 4, Key: "c", ID: "1-c", Result: Duplicate}} {
			if !r.Has(Row{Line: v.Line, Key: v.Key}) {
				r.Add(v)
			}
		}
		if r.Has(Row{Line: 2, Key: "other"}) || r.Has(Row{Line: 5, Key: "a"}) {
			t.Error("a row with another key or in another line has a result")
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		if again, _ := os.ReadFile(name); string(again) != want {
			t.Fatalf("cut at %d:\n%s", cut, again)
		}
	}
}

// TestResultsOfOneImport: two imports cannot write to one file of results at once. Nothing of it is lost.
func TestResultsOfOneImport(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "results.csv")
	first, err := OpenResults(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Add(Result{Line: 2, Key: "a", Result: Accepted}); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenResults(name); err == nil || !strings.Contains(err.Error(), "another import writes its results to this file") {
		t.Errorf("a second import: %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	next, err := OpenResults(name)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if !next.Has(Row{Line: 2, Key: "a"}) {
		t.Error("the result is lost")
	}
}

// TestOtherFilesStay: a file that has no results is refused, and stays as it is.
func TestOtherFilesStay(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"to,text\n+1,hi\n", "no end of line", "line,key,id,result,code,mistake\nx,a,,accepted,,\n", strings.Repeat("x", 3*readSize)} {
		name := filepath.Join(t.TempDir(), "customers.csv")
		os.WriteFile(name, []byte(text), 0o600)
		if _, err := OpenResults(name); err == nil || !strings.Contains(err.Error(), "Give the results another name") {
			t.Errorf("%.20q: %v", text, err)
		}
		if now, _ := os.ReadFile(name); string(now) != text {
			t.Errorf("%.20q became %.20q", text, now)
		}
	}
}
