package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"sluice/internal/message"
	"sluice/internal/relay"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

// relay checks that each relay target gets events.
func (v *visit) relay(ctx context.Context, db *store.DB, shards message.Shards) {
	targets := relay.NewTargets(db, shards, secrets.New(string(v.Worker.SecretsKey), string(v.Worker.SecondSecrets)))
	all, err := targets.List(ctx)
	if err != nil {
		v.add("relay targets", "", refused(err))
		return
	}
	if len(all) == 0 {
		v.add("relay targets", "", found(OK, "none", ""))
		return
	}
	if n, err := targets.Workers(ctx); err != nil {
		v.add("relay workers", "", refused(err))
		return
	} else if n == 0 && slices.ContainsFunc(all, func(t message.RelayStatus) bool { return time.Since(time.UnixMilli(t.Born)) > time.Minute }) {
		v.add("relay workers", "", found(Fail, "no worker relays: the events of all relay targets wait, and are dropped after events.retention", "start a worker with the role relay (every worker has it by default), and read its log"))
		return
	}
	for _, t := range all {
		v.add("relay target", t.Name, relayTarget(targets, t))
		if t.Dead > 0 {
			v.add("relay dead letters", t.Name, found(Warn, fmt.Sprintf("events that were given up: %d", t.Dead),
				"`sluice relay dead-letters "+t.Name+"` lists them. Correct the cause, then run `sluice relay replay "+t.Name+" --dead-letters --reason '...'`, or drop them with `sluice relay drop "+t.Name+" --reason '...'`"))
		}
	}
}

// relayTarget checks one relay target.
func relayTarget(targets *relay.Targets, t message.RelayStatus) Finding {
	_, err := targets.Secret(t.RelayTarget)
	switch {
	case err != nil:
		return found(Fail, "its secret cannot be decrypted: the secrets key of this configuration is missing or not the right one. A worker with this key sends it nothing", "give all producers and workers the same secrets_key_file or SLUICE_SECRETS_KEY, or set the secret again with `sluice relay set`")
	case t.State == message.RelayHeld:
		return found(Fail, fmt.Sprintf("has been held for %s; set by %s: %s. Its events wait, and are dropped after events.retention", age(t.HeldSince), t.HeldBy, t.HeldReason), "`sluice relay release "+t.Name+" --reason '...'`")
	case t.State == message.RelayFailing:
		return found(Fail, fmt.Sprintf("has taken no event for %s; last error: %s. Its events wait, and are dropped after events.retention", age(t.Since), t.Error), "see docs/runbooks/SluiceRelayTargetFailing.md")
	case t.State == message.RelayWaiting && time.Since(time.UnixMilli(t.Born)) > time.Minute:
		return found(Fail, "no worker has begun to relay to it", "read the logs of the workers with the role relay")
	}
	return found(OK, "takes events", "")
}
