package config

import (
	"fmt"
	"sync"
	"time"
)

// tokenCheck is the shortest time between two reads of a token file. To read the file costs as little as to read its
// time, and finds every change.
const tokenCheck = 5 * time.Second

// Tokens has the access token of each number. When a token file changes, Tokens returns the new token within
// seconds. It is safe for concurrent use.
type Tokens struct {
	// OnError is called when a file cannot be read or is empty. The previous token stays in use.
	// Token calls it at most every five seconds for each number. Set it before the
	// first call of Token; nil: the error is ignored.
	OnError func(number string, err error)

	all map[string]*token
}

// token is the token of one number.
type token struct {
	file string // empty: the token never changes

	mu      sync.Mutex
	value   string
	checked time.Time
}

// FixedTokens returns Tokens with the tokens of a map from phone number id to token.
func FixedTokens(m map[string]string) *Tokens {
	t := &Tokens{all: map[string]*token{}}
	for number, value := range m {
		t.all[number] = &token{value: value}
	}
	return t
}

// TokenOf returns Tokens with the token in a file of one number. A file that cannot be read at first is read again like one that
// changes. OnError is that of other, if other is not nil.
func TokenOf(number, file string, other *Tokens) *Tokens {
	t := &Tokens{all: map[string]*token{}}
	if other != nil {
		t.OnError = other.OnError
	}
	t.all[number], _ = openToken(file)
	return t
}

// Token returns the current access token of a number. It may read a file.
func (t *Tokens) Token(number string) (string, error) {
	if !t.Has(number) {
		return "", fmt.Errorf("no token for number %s", number)
	}
	value, err := t.all[number].current()
	if err != nil && t.OnError != nil {
		t.OnError(number, err)
	}
	return value, nil
}

// Has reports whether there is a token of a number.
func (t *Tokens) Has(number string) bool { return t != nil && t.all[number] != nil }

// openToken reads the token in a file.
func openToken(file string) (*token, error) {
	t := &token{file: file, checked: time.Now()}
	return t, t.refresh()
}

// current returns the token, and reads it again if its file may have changed. After an error it returns the
// previous token.
func (t *token) current() (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	if t.file == "" || now.Sub(t.checked) < tokenCheck {
		return t.value, nil
	}
	t.checked = now
	err := t.refresh()
	return t.value, err
}

// refresh reads the file. After an error the previous value stays.
func (t *token) refresh() error {
	value, err := readSecret(t.file)
	if err != nil {
		return err
	}
	t.value = value
	return nil
}
