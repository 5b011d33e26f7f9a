package app

import (
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/holds"
	"sluice/internal/httpapi"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/relay"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

// entries are what a program knows before it reads the directory.
type entries struct {
	file directory.File
	box  secrets.Box
	uses []directory.Kind // the kinds whose secrets the program uses
}

// newDirectory returns the directory of a program, which has not read Redis yet, and its store.
func newDirectory(db *store.DB, c config.Common, of entries, log *slog.Logger) (*directory.Directory, *directory.Store) {
	of.file.Numbers, of.file.Clients, of.file.Classes = c.Numbers, c.Clients, c.Classes
	entries := directory.NewStore(directory.StoreOptions{
		DB: db, Box: of.box, File: of.file,
		Unfinished: unfinished(newLedger(db, c, nil)), Accounts: holds.NewAccounts(db).All,
	})
	entries.AlsoReencrypt(relay.NewTargets(db, message.Shards(c.Shards), of.box).Reencrypt)
	return directory.New(entries, log, of.uses...), entries
}

// keys returns all API keys, with others of this process. A key of a client covers shared numbers too, and sees only messages of its
// client.
func (p *Program) keys(others ...httpapi.Key) httpapi.Keys { return p.keysOf(true, others...) }

// operatorKeys returns all API keys for the console. There a key of a client covers only the numbers that no other client uses: what
// an operator does to a number concerns all its messages.
func (p *Program) operatorKeys() httpapi.Keys { return p.keysOf(false) }

func (p *Program) keysOf(shared bool, others ...httpapi.Key) httpapi.Keys {
	var now atomic.Pointer[[]httpapi.Key]
	read := func(directory.Changes) {
		all := others[:len(others):len(others)]
		for _, k := range p.directory.Keys() {
			one := httpapi.Key{Name: k.Name, Hash: hex.EncodeToString(k.SHA256[:]), Scopes: k.Scopes, Numbers: k.Numbers, Revoked: k.Revoked, Expires: k.Expires, Client: k.Client, Account: k.MessagingAccount, LastUse: p.uses.Of(k.Name)}
			if k.Client != "" {
				_, one.Shared = p.directory.NumbersOf(k.Client)
			}
			if !shared {
				one.Numbers = slices.DeleteFunc(slices.Clone(k.Numbers), func(number string) bool { return slices.Contains(one.Shared, number) })
			}
			all = append(all, one)
			if k.PreviousSHA256 != [32]byte{} {
				previous := all[len(all)-1]
				previous.Hash = hex.EncodeToString(k.PreviousSHA256[:])
				if !k.PreviousExpires.IsZero() && (k.Expires.IsZero() || k.PreviousExpires.Before(k.Expires)) {
					previous.Expires = k.PreviousExpires
				}
				all = append(all, previous)
			}
		}
		now.Store(&all)
	}
	read(directory.Changes{})
	p.directory.Subscribe(read)
	return func() []httpapi.Key { return *now.Load() }
}

// configuredRate returns the rate limit of a number, or Meta's standard throughput.
func configuredRate(d *directory.Directory) func(number string) int {
	return func(number string) int {
		if n, ok := d.Number(number); ok {
			return n.Rate
		}
		return config.DefaultRate
	}
}

// accepts returns a function that reports whether new messages of a number are accepted.
func accepts(d *directory.Directory) func(number string) bool {
	return func(number string) bool {
		leaving, _ := d.Leaving(number)
		return leaving == "" && d.Known(number)
	}
}

// unfinishedStates are the states in which a message needs its number.
var unfinishedStates = []message.State{message.Queued, message.Attempting, message.InDoubt, message.Parked}

// unfinished returns a function that returns how many messages need a number, about; 0: none does.
func unfinished(book *ledger.Ledger) func(context.Context, string) (int, error) {
	return func(ctx context.Context, number string) (int, error) {
		some, err := openMessages(ctx, book, number, 1, unfinishedStates...)
		if err != nil {
			return 0, err
		}
		moving, err := book.Moving(ctx, number, 1)
		if found := len(some) + len(moving); err != nil || found == 0 {
			return 0, err
		}
		count, err := book.CountUnfinished(ctx, number)
		return max(count, 1), err
	}
}

// openMessages returns messages of a number in some states: about limit, or all.
func openMessages(ctx context.Context, book *ledger.Ledger, number string, limit int, states ...message.State) (found []message.Record, err error) {
	at := &message.ListPosition{}
	for at != nil && len(found) < limit {
		var some []message.Record
		if some, at, err = book.List(ctx, message.ListFilter{Numbers: []string{number}, States: states}, *at, limit); err != nil {
			return nil, err
		}
		found = append(found, some...)
	}
	return found, nil
}

const (
	// leaveEvery is how often a worker looks for numbers that are being removed.
	leaveEvery = 2 * time.Second
	// leaveAfter is when all programs have noticed that a number is being removed and accepts no new messages.
	leaveAfter = 5 * time.Second
	// cancelMost is how many messages of a number are cancelled in one go, and cancelAtOnce how many at the same time.
	cancelMost   = 2000
	cancelAtOnce = 64
)

// removeLeaving removes the numbers that are being removed, when their last message is final. One worker does so for each number.
func (w *worker) removeLeaving(ctx context.Context) error {
	tick := time.NewTicker(leaveEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := w.finishMoves(ctx); err != nil && ctx.Err() == nil {
			w.Log.Warn("cannot move messages to another number, will retry", "err", err)
		}
		for _, number := range w.directory.Numbers() {
			how, revision := w.directory.Leaving(number)
			if how == "" || w.DB.Clock(ctx, ledger.RecordPrefix(0)).Before(time.UnixMicro(revision).Add(leaveAfter)) {
				continue
			}
			if err := w.leave(ctx, number, how, revision); err != nil && ctx.Err() == nil {
				w.Log.Warn("cannot remove a number, will retry", "phone_number_id", number, "err", err)
			}
		}
	}
}

// leave cancels what waits for a number, if it is to be cancelled, and removes the number when nothing is left.
func (w *worker) leave(ctx context.Context, number, how string, revision int64) error {
	shard := w.shards.Of(number)
	workers, err := living(w.book, w.shards)(ctx)
	if err != nil {
		return err
	}
	if message.Rank(w.name, workers[shard], number) != 0 {
		return nil
	}
	if how == directory.BacklogCancel {
		some, err := openMessages(ctx, w.book, number, cancelMost, message.Queued, message.Parked)
		if err != nil {
			return err
		}
		err = each(some, func(m message.Record) error {
			_, err := w.book.Cancel(ctx, m.ID)
			return err
		})
		if err != nil {
			return fmt.Errorf("cancel messages: %w", err)
		}
	}
	if how == directory.BacklogMove {
		if err := w.moveAway(ctx, number, w.directory.LeavingTo(number)); err != nil {
			return err
		}
	}
	left, err := w.unfinished(ctx, number)
	if err != nil || left > 0 {
		return err
	}
	err = w.entries.Remove(ctx, directory.KindNumber, number, directory.Change{Revision: revision, Actor: "sluice", Reason: "the removal of the number was ordered with " + how + ", and no message is left"})
	if err == nil {
		w.Log.Info("number removed", "phone_number_id", number)
	}
	return err
}
