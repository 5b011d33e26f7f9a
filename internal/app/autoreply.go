package app

import (
	"context"

	"sluice/internal/autoreply"
	"sluice/internal/config"
	"sluice/internal/intake"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/suppression"
)

// autoReplies adds the part that answers people who write to a number with automatic replies, and returns it.
func (p *Program) autoReplies(c config.Producer, requests *intake.Intake, persons *people.People) *autoreply.Replier {
	o := autoreply.Options{
		Consumer: workerName(), Shards: message.Shards(c.Shards), Numbers: p.directory.Numbers, Settings: p.directory.AutoReply,
		Stops:  suppression.NewWords(suppression.WordChanges(c.StopWords), suppression.WordChanges(c.StartWords)).Stop,
		Accept: requests.AcceptOrders, PrivateHosts: c.Hooks.PrivateHosts, Log: p.Log, Registerer: p.Registry,
	}
	if c.SecretsKey != "" {
		o.Person = func(ctx context.Context, number, recipient string) (string, error) {
			person, err := personOf(ctx, persons, number, recipient)
			return string(person[:]), err
		}
	}
	r := autoreply.New(p.DB, o)
	p.Work(r.Run)
	return r
}
