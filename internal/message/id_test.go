package message_test

import (
	"slices"
	"strings"
	"testing"

	"sluice/internal/message"
)

const someNumber = "106540352242922"

func TestNewIDFollowsFromNumberAndKey(t *testing.T) {
	t.Parallel()
	first := message.NewID(someNumber, "order-4711")
	// A record is found again by this name: it must not change between versions.
	if want := someNumber + "-7bd6tqyyrv6ezbs7zjzfc63m4s"; first != want {
		t.Errorf("id %q, want %q", first, want)
	}
	if again := message.NewID(someNumber, "order-4711"); again != first {
		t.Errorf("the same key gave %q, then %q", first, again)
	}
	for name, other := range map[string]string{
		"another key":        message.NewID(someNumber, "order-4712"),
		"another number":     message.NewID(someNumber+"1", "order-4711"),
		"the border shifted": message.NewID(someNumber[:14], someNumber[14:]+"order-4711"),
		"no key":             message.NewID(someNumber, ""),
	} {
		if strings.SplitN(other, "-", 2)[1] == strings.SplitN(first, "-", 2)[1] {
			t.Errorf("%s: the same id %q", name, other)
		}
	}
	if a, b := message.NewID(someNumber, ""), message.NewID(someNumber, ""); a == b {
		t.Errorf("two messages without a key are both %q", a)
	}
}

func TestNumber(t *testing.T) {
	t.Parallel()
	const rest = "abcdefghijklmnopqrstuvwxyz"
	for _, tt := range []struct {
		id, number string
		ok         bool
	}{
		{message.NewID(someNumber, ""), someNumber, true},
		{message.NewID(someNumber, "k"), someNumber, true},
		{"1-" + rest, "1", true},
		{"1-234567" + rest[6:], "1", true},
		{strings.Repeat("9", 32) + "-" + rest, strings.Repeat("9", 32), true},
		{"", "", false},
		{"-" + rest, "", false},
		{someNumber, "", false},
		{someNumber + "-", "", false},
		{someNumber + "-" + rest[1:], "", false},
		{someNumber + "-" + rest + "a", "", false},
		{someNumber + "-" + strings.ToUpper(rest), "", false},
		{someNumber + "-abcdefghijk1mnopqrstuvwxyz", "", false}, // base32 has no 1
		{someNumber + "-abcdefghijkl}nopqrstuvwxyz", "", false}, // nothing that could end a hash tag
		{"+" + someNumber + "-" + rest, "", false},
		{"10654x352-" + rest, "", false},
		{strings.Repeat("9", 33) + "-" + rest, "", false},
	} {
		if number, ok := message.Number(tt.id); number != tt.number || ok != tt.ok {
			t.Errorf("Number(%q) = %q, %t, want %q, %t", tt.id, number, ok, tt.number, tt.ok)
		}
	}
}

func TestShards(t *testing.T) {
	t.Parallel()
	// Where a number's keys lie must not change between versions either.
	for number, want := range map[string]message.Shard{someNumber: 2, "1": 12, "102290129340398": 6} {
		if got := message.DefaultShards.Of(number); got != want {
			t.Errorf("shard of %s is %d, want %d", number, got, want)
		}
	}
	if got := message.Shard(100).String(); got != "s100" {
		t.Errorf("shard 100 is %q", got)
	}
	if got := message.Shards(3).All(); !slices.Equal(got, []message.Shard{0, 1, 2}) {
		t.Errorf("all of 3: %v", got)
	}
	seen := map[message.Shard]bool{}
	for n := range 1000 {
		s := message.DefaultShards.Of(someNumber + strings.Repeat("1", n%17) + strings.Repeat("2", n/17))
		if s < 0 || s >= message.Shard(message.DefaultShards) {
			t.Fatalf("shard %d is out of range", s)
		}
		seen[s] = true
	}
	if len(seen) != int(message.DefaultShards) {
		t.Errorf("a thousand numbers lie in %d of %d shards", len(seen), message.DefaultShards)
	}
}

func TestMask(t *testing.T) {
	t.Parallel()
	for recipient, want := range map[string]string{
		"": "", "1": "***", "+491701": "***", "+4915123456789": "+49***89", "+4917012": "+49***12",
	} {
		if got := message.Mask(recipient); got != want {
			t.Errorf("Mask(%q) = %q, want %q", recipient, got, want)
		}
	}
}
