package ledger

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

//go:embed lua/accept.lua
var acceptLua string

// Accepting is the making of a message's record.
type Accepting struct {
	store.Part
	m message.Message
}

// Accept prepares the making of m's record. Nonce names the caller's request: with the same
// nonce a repeat whose answer was lost is recognised as the same request.
func (l *Ledger) Accept(m message.Message, nonce string) (Accepting, error) {
	k, err := l.keys(m.ID)
	if err != nil {
		return Accepting{}, fmt.Errorf("accept: %q is no message id", m.ID)
	}
	about, ref := m.Context(), refName(m.From, m.Ref)
	fields, err := firstFields(m, about, ref)
	if err != nil {
		return Accepting{}, fmt.Errorf("accept %s: %w", m.ID, err)
	}
	before, after, err := queuedEvent(about)
	if err != nil {
		return Accepting{}, fmt.Errorf("accept %s: %w", m.ID, err)
	}
	return Accepting{m: m, Part: store.Part{
		Script: l.accept, Keys: []string{k.record, k.payload, k.waiting, k.streams},
		Args: append([]any{
			m.ID, nonce, m.Hash, m.ExpiresAt.UnixMilli(), []byte(m.Payload), ref, before, after,
		}, fields...),
	}}, nil
}

// queuedEvent is the event that says that a message was accepted, in two parts: its time, as
// Redis has it, stands between.
func queuedEvent(about message.Context) (before, after []byte, err error) {
	event, err := json.Marshal(message.Event{
		Version: message.EventVersion, Type: message.EventMessage, Number: about.From,
		State: &message.Change{To: message.Queued}, Message: &about,
	})
	if err != nil {
		return nil, nil, err
	}
	const zero = `"at":0`
	end := bytes.Index(event, []byte(zero)) + len(zero)
	return event[:end-1], event[end:], nil
}

// pair names a message's number and recipient without telling them; empty for groups, which
// have no limit of their own.
func pair(m message.Message) string {
	if m.Content.Group {
		return ""
	}
	sum := sha256.Sum256([]byte(m.From + "\x00" + m.Content.Recipient()))
	return hex.EncodeToString(sum[:8])
}

// Result tells what its run made of it. It is message.ErrKeyReused when the id
// belongs to a message with other content.
func (a Accepting) Result(cmd *redis.Cmd) (message.Acceptance, error) {
	r, err := cmd.Slice()
	if err != nil {
		return message.Acceptance{}, fmt.Errorf("accept %s: %w", a.m.ID, err)
	}
	if text(r[2]) != a.m.Hash {
		return message.Acceptance{}, message.ErrKeyReused
	}
	return message.Acceptance{
		ID: a.m.ID, State: message.State(text(r[1])), Class: a.m.Class,
		ExpiresAt: time.UnixMilli(number(r[3])).UTC(), Duplicate: number(r[0]) == 0,
	}, nil
}
