// Package admission decides whether to accept new messages, and stores the accepted ones. It finds the class
// of a message, estimates how long the message would wait, and checks that Redis has memory for it.
package admission

import (
	"context"
	"errors"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/record"
	"sluice/internal/signature"
	"sluice/internal/store"
)

// Acceptor stores the record of a message and its first task in one transaction, so that neither exists
// without the other. Concurrent requests share transactions. It is safe for concurrent use.
type Acceptor struct {
	db      *store.DB
	records *ledger.Ledger
	tasks   *queue.Client
	shards  message.Shards
	signer  signature.Signer
}

// NewAcceptor returns an Acceptor that signs payloads with signer.
func NewAcceptor(db *store.DB, records *ledger.Ledger, tasks *queue.Client, shards message.Shards, signer signature.Signer) *Acceptor {
	return &Acceptor{db, records, tasks, shards, signer}
}

// fullAt is the share of Redis's memory above which Accept refuses new messages. The rest is for
// accepted messages: workers and webhooks need memory to finish them.
const fullAt = 0.75

// Accept stores a message durably. After an error the message may or may not be stored: retry with the same
// key. After message.ErrKeyReused and message.ErrFull it is certainly not stored.
func (a *Acceptor) Accept(ctx context.Context, m message.Message) (message.Acceptance, error) {
	r := a.AcceptAll(ctx, []message.Message{m})[0]
	return r.Acceptance, r.Err
}

// AcceptAll does the same as Accept for a group of messages.
func (a *Acceptor) AcceptAll(ctx context.Context, messages []message.Message) []message.AcceptResult {
	out := make([]message.AcceptResult, len(messages))
	if err := a.db.Breach(); err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	var accepting []ledger.Accepting
	var places []int
	found, err := a.earlier(ctx, messages)
	for i, m := range messages {
		if len(m.Earlier) > 0 && (err != nil || found[i].ID != "") {
			out[i] = message.AcceptResult{Acceptance: found[i], Err: err}
			continue
		}
		if out[i].Err = a.checkMemory(ctx, m); out[i].Err != nil {
			continue
		}
		m.Payload = a.signer.Sign(m.ID, m.Payload)
		if m.Fallback.Template != "" {
			m.Fallback.Payload = a.signer.Sign(m.ID, m.Fallback.Payload)
		}
		enqueue := func(w *store.Writes, at time.Time) error {
			return a.tasks.Enqueue(w, queue.Task{ID: m.ID, Number: m.From, Class: m.Class, At: at, Flow: m.Flow()})
		}
		accepting, places = append(accepting, ledger.Accepting{Message: m, Enqueue: enqueue}), append(places, i)
	}
	for i, r := range a.records.Accept(ctx, accepting) {
		out[places[i]] = r
	}
	return out
}

// maxMoves is how often a message is followed from number to number.
const maxMoves = 10

// earlier returns, for each message, what the same request at a number whose messages were moved to that of the message has become: its
// message, or the one that has taken its place. The id is empty if there is none, or if the request was made at the present number too.
// It needs no round trip if no messages were moved.
func (a *Acceptor) earlier(ctx context.Context, messages []message.Message) ([]message.Acceptance, error) {
	found := make([]message.Acceptance, len(messages))
	var ids []string
	for _, m := range messages {
		if len(m.Earlier) > 0 {
			ids = append(ids, m.ID)
		}
		for _, e := range m.Earlier {
			ids = append(ids, e.ID)
		}
	}
	if len(ids) == 0 {
		return found, nil
	}
	records, err := a.records.ReadAnywhere(ctx, ids)
	if err != nil {
		return found, err
	}
	for i, m := range messages {
		if len(m.Earlier) == 0 {
			continue
		}
		own, others := records[0], records[1:1+len(m.Earlier)]
		if records = records[1+len(m.Earlier):]; own.Exists() && own.Hash == m.Hash {
			continue
		}
		for k, e := range m.Earlier {
			if r := others[k]; r.Exists() && r.Hash == e.Hash && r.Client == m.Client {
				if found[i], err = a.latest(ctx, r); err != nil {
					return found, err
				}
				break
			}
		}
	}
	return found, nil
}

// latest returns a message as a duplicate, or the one that has taken its place.
func (a *Acceptor) latest(ctx context.Context, r record.Record) (message.Acceptance, error) {
	found := message.Acceptance{ID: r.ID, State: r.State, Class: r.Class, ExpiresAt: r.ExpiresAt.UTC(), Duplicate: true}
	for range maxMoves {
		if r.MovedTo == "" {
			break
		}
		found.ID, found.State = r.MovedTo, message.Queued // it is accepted in a moment
		next, err := a.records.Read(ctx, r.MovedTo)
		if errors.Is(err, message.ErrNotFound) {
			break
		} else if err != nil {
			return found, err
		}
		r, found.State = next, next.State
	}
	return found, nil
}

// Repeats returns the id of the message that each message repeats because it has the same key; empty: it repeats none. Accept returns a
// duplicate then, or message.ErrKeyReused. It needs two round trips, and one more for each message that was moved.
func (a *Acceptor) Repeats(ctx context.Context, messages []message.Message) ([]string, error) {
	found, err := a.earlier(ctx, messages)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(messages))
	for i, m := range messages {
		if m.Key != "" {
			ids[i] = m.ID
		}
	}
	known, err := a.records.ReadAnywhere(ctx, ids)
	if err != nil {
		return nil, err
	}
	for i := range ids {
		if found[i].ID != "" {
			ids[i] = found[i].ID
		} else if !known[i].Exists() {
			ids[i] = ""
		}
	}
	return ids, nil
}

// checkMemory returns message.ErrFull when Redis has no memory for a new message. A repeated request needs
// no memory, so it is answered with the state of the message.
func (a *Acceptor) checkMemory(ctx context.Context, m message.Message) error {
	if a.db.Fullness(ctx, ledger.RecordPrefix(a.shards.Of(m.From))) <= fullAt {
		return nil
	}
	if _, err := a.records.Get(ctx, m.ID); errors.Is(err, message.ErrNotFound) {
		return message.ErrFull
	}
	return nil
}
