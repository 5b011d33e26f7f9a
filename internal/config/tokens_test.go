package config

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTokenFollowsItsFile(t *testing.T) {
	dir := t.TempDir()
	path := write(t, dir, "token", "first\n")
	synctest.Test(t, func(t *testing.T) {
		one, err := openToken(path)
		if err != nil {
			t.Fatal(err)
		}
		var failed []string
		tokens := &Tokens{all: map[string]*token{"1": one}}
		tokens.OnError = func(number string, _ error) { failed = append(failed, number) }
		want := func(value string, errors int) {
			t.Helper()
			if got, err := tokens.Token("1"); got != value || err != nil || len(failed) != errors {
				t.Errorf("token %q, %v, after %d errors; want %q after %d", got, err, len(failed), value, errors)
			}
		}
		want("first", 0)

		write(t, dir, "token", "second")
		want("first", 0) // not read yet
		time.Sleep(tokenCheck)
		want("second", 0)

		write(t, dir, "token", "")
		time.Sleep(tokenCheck)
		want("second", 1)
		want("second", 1) // reported once for each read
		time.Sleep(tokenCheck)
		want("second", 2)

		write(t, dir, "token", "third")
		time.Sleep(tokenCheck)
		want("third", 2)
	})
}

func TestFixedTokens(t *testing.T) {
	tokens := FixedTokens(map[string]string{"1": "a"})
	if got, err := tokens.Token("1"); got != "a" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := tokens.Token("2"); err == nil {
		t.Error("no error for an unknown number")
	}
}
