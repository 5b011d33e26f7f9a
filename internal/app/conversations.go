package app

import (
	"context"
	"fmt"
	"time"

	"sluice/internal/content"
	"sluice/internal/conversations"
	"sluice/internal/directory"
	"sluice/internal/message"
	"sluice/internal/people"
)

// newOwners returns the owners of conversations for a program, which has read which numbers other apps share.
func newOwners(ctx context.Context, p *Program, shards message.Shards, persons *people.People) *conversations.Owners {
	o := conversations.New(p.DB, shards, persons, p.Log)
	if err := o.Load(ctx); err != nil {
		p.Log.Warn("cannot read which numbers other apps share, will retry", "err", err)
	}
	p.Background(o.Run)
	return o
}

// ownerTimeout is the time limit of Redis for the owner of a conversation.
const ownerTimeout = 2 * time.Second

// ownConversation returns an error if a message is a service message in a conversation that another app owns, and its number refuses
// those. It needs no round trip for a number that no other app shares.
func (w *worker) ownConversation(a message.Attempt, object []byte) error {
	number := a.Message.From
	if !w.owners.Shared(number) || a.Message.Template != "" || w.directory.OtherApp(number) != directory.OtherAppRefuse {
		return nil
	}
	to, service := content.Addressee(string(object))
	if !service || to == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), ownerTimeout) // a stop must not end an attempt that has begun
	defer cancel()
	until, err := w.owners.ElsewhereTo(ctx, []conversations.Recipient{{Number: number, To: to}})
	if err != nil { // Meta decides
		w.Log.Warn("cannot read the owner of a conversation, Meta decides whether the message may be sent", "message_id", a.ID, "err", err)
		return nil
	}
	if !until[0].IsZero() {
		return fmt.Errorf("%w until %s", message.ErrOtherApp, until[0].Format(time.RFC3339))
	}
	return nil
}

// elsewhere returns a function that returns until when another app owns the conversations of new messages, of numbers that refuse
// those; zero: none does.
func elsewhere(o *conversations.Owners, d *directory.Directory) func(context.Context, []*message.Message) ([]time.Time, error) {
	return func(ctx context.Context, all []*message.Message) ([]time.Time, error) {
		var asked []conversations.Recipient
		var of []int
		for i, m := range all {
			if o.Shared(m.From) && d.OtherApp(m.From) == directory.OtherAppRefuse {
				asked, of = append(asked, conversations.Recipient{Number: m.From, To: m.Content.Recipient()}), append(of, i)
			}
		}
		if len(asked) == 0 {
			return nil, nil
		}
		found, err := o.ElsewhereTo(ctx, asked)
		until := make([]time.Time, len(all))
		for i, at := range found {
			until[of[i]] = at
		}
		return until, err
	}
}
