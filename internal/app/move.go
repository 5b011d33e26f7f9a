package app

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/archive"
	"sluice/internal/config"
	"sluice/internal/content"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/record"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

const (
	// moveMost is how many messages of a number, or of a shard, are moved in one go.
	moveMost = 1000
	// moveFor is how long a worker moves messages of a number before it looks at other numbers.
	moveFor = 5 * time.Second
)

// moveAway moves messages that wait for a number to another number, as far as that is possible; see record.MayMove and
// content.Portable. The number sends the others itself. It blocks for about moveFor at most.
func (w *worker) moveAway(ctx context.Context, number, to string) error {
	if how, _ := w.directory.Leaving(to); how != "" || !w.directory.Known(to) {
		return fmt.Errorf("phone number id %s cannot take the messages: it is not configured, or is being removed", to)
	}
	filter := message.ListFilter{Numbers: []string{number}, States: []message.State{message.Queued}}
	for begin := time.Now(); time.Since(begin) < moveFor; {
		at := w.moved[number] // messages that cannot be moved must not hide the others, so each call reads on
		some, next, err := w.book.List(ctx, filter, at, moveMost)
		if err != nil {
			return err
		}
		if delete(w.moved, number); next != nil {
			w.moved[number] = *next
		}
		if err := each(some, func(m message.Record) error { return w.moveOne(ctx, m.ID, to) }); err != nil || next == nil {
			return err
		}
	}
	return nil
}

// moveOne moves a message to another number, unless its own number must send it.
func (w *worker) moveOne(ctx context.Context, id, to string) error {
	r, err := w.book.Read(ctx, id)
	if err != nil || !r.MayMove() || !w.portable(r.ID, r.Payload) || !w.portable(r.ID, r.Other) {
		return err
	}
	r, moving, err := w.book.MoveAway(ctx, id, to)
	if err != nil || !moving {
		return err
	}
	return w.finishMove(ctx, &r)
}

// portable reports whether another number can send a payload of a message; an empty one does not matter. The sender finds a payload
// that was tampered with.
func (w *worker) portable(id, payload string) bool {
	_, err := w.signer.Verify(id, []byte(payload))
	return payload == "" || err == nil && content.Portable(payload)
}

// finishMoves ends the moves that a worker began and did not end. For each number one worker does so.
func (w *worker) finishMoves(ctx context.Context) error {
	ids, err := w.book.Moving(ctx, "", moveMost)
	if err != nil || len(ids) == 0 {
		return err
	}
	workers, err := living(w.book, w.shards)(ctx)
	if err != nil {
		return err
	}
	return each(ids, func(id string) error {
		number, _ := message.Number(id)
		if message.Rank(w.name, workers[w.shards.Of(number)], number) != 0 {
			return nil
		}
		r, moving, err := w.book.ReadMoving(ctx, id)
		if err != nil || !moving {
			return err
		}
		return w.finishMove(ctx, &r)
	})
}

// finishMove accepts the message that takes the place of another one, with its task, and then lets the other one drop its payload.
func (w *worker) finishMove(ctx context.Context, r *record.Record) error {
	sign := func(stored string) ([]byte, error) {
		if stored == "" {
			return nil, nil
		}
		object, err := w.signer.Verify(r.ID, []byte(stored))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.ID, err)
		}
		return w.signer.Sign(r.MovedTo, object), nil
	}
	payload, err := sign(r.Payload)
	if err != nil {
		return err
	}
	other, err := sign(r.Other)
	if err != nil {
		return err
	}
	account := r.Context.Account // of the request or its API key
	if to, _ := message.Number(r.MovedTo); account == "" || account == w.directory.MessagingAccount(r.From) {
		account = w.directory.MessagingAccount(to)
	}
	recipient, _ := content.Addressee(r.Payload)
	err = w.book.AcceptMoved(ctx, r, recipient, record.Successor{Account: account, Payload: payload, Other: other}, func(writes *store.Writes, made record.Record) error {
		return w.tasks.Enqueue(writes, queue.Task{ID: made.ID, Number: made.From, Class: made.Class, At: made.NextAt, Flow: made.Flow()})
	})
	if err != nil {
		return err
	}
	return w.book.EndMove(ctx, r.ID)
}

// each calls f for all, some at the same time. It returns the first error when all calls have ended.
func each[T any](all []T, f func(T) error) error {
	var g errgroup.Group
	g.SetLimit(cancelAtOnce)
	for _, one := range all {
		g.Go(func() error { return f(one) })
	}
	return g.Wait()
}

// recipientHash returns the hash of the index of recipients, as producers make it; nil: there is no index.
func recipientHash(c config.Worker) func(string) string {
	if !c.RecipientIndex {
		return nil
	}
	return secrets.Hasher(string(c.SecretsKey), archive.RecipientPurpose)
}
