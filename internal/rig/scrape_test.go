package rig

import "testing"

func TestSum(t *testing.T) {
	t.Parallel()
	const text = "# TYPE trips counter\ntrips 3\ntrips_total 9\ntrips{a=\"} 7\"} 4 1763821860\ntrips{a=\"x\"} 1.5e1\n"
	if got := sum(text, "trips"); got != 22 {
		t.Errorf("%v, want 22", got)
	}
}

func TestMarked(t *testing.T) {
	t.Parallel()
	if id, ok := MarkedID("sl1.bench.1-abc.1.mac"); !ok || id != "1-abc" {
		t.Errorf("%q, %t", id, ok)
	}
	if _, ok := MarkedID("no marker"); ok {
		t.Error("that is no marker")
	}
}
