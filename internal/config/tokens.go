package config

import (
	"fmt"
	"sync"
	"time"
)

// tokenCheck is how often a token's file is read, at most. A read costs as little as a look
// at the file's time, and misses nothing.
const tokenCheck = 5 * time.Second

// Tokens knows the access token of each number. A token from a file follows the file within
// seconds. It is safe for concurrent use.
type Tokens struct {
	// OnError hears of a file that cannot be read or is empty; the old token stays in use.
	// It is called by Token, at most every five seconds for each number. Set it before the
	// first call of Token; nil: nobody hears of it.
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

// FixedTokens makes Tokens of a map from phone number id to token.
func FixedTokens(m map[string]string) *Tokens {
	t := &Tokens{all: map[string]*token{}}
	for number, value := range m {
		t.all[number] = &token{value: value}
	}
	return t
}

// Token returns the present access token of a number. It may read a file.
func (t *Tokens) Token(number string) (string, error) {
	one, ok := t.all[number]
	if !ok {
		return "", fmt.Errorf("no token for number %s", number)
	}
	value, err := one.current()
	if err != nil && t.OnError != nil {
		t.OnError(number, err)
	}
	return value, nil
}

// openToken reads the token in a file.
func openToken(file string) (*token, error) {
	t := &token{file: file, checked: time.Now()}
	return t, t.refresh()
}

// current returns the token, fresh if its file has changed. After an error it is the old one.
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

// refresh reads the file; after an error the old value stays.
func (t *token) refresh() error {
	value, err := readSecret(t.file)
	if err != nil {
		return err
	}
	t.value = value
	return nil
}
