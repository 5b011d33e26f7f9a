package console

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// relayTargets are the targets to which events are relayed.
type relayTargets interface {
	// CanEncrypt reports whether there is a key to encrypt secrets.
	CanEncrypt() bool
	// Set adds or changes a target. Without a secret a changed target keeps its own.
	Set(ctx context.Context, t message.RelayTarget, secret string) (added bool, err error)
	List(ctx context.Context) ([]message.RelayStatus, error)
	Dead(ctx context.Context, name string, limit int) ([]message.RelayDeadLetter, error)

	// Each of these returns false if there is no such target.
	Remove(ctx context.Context, name string) (bool, error)
	Hold(ctx context.Context, name, by, reason string) (bool, error)
	Release(ctx context.Context, name string) (bool, error)
	Replay(ctx context.Context, name string, from time.Time) (bool, error)
	ReplayDead(ctx context.Context, name string) (bool, error)
	DropDead(ctx context.Context, name string) (bool, error)
}

// Limits of a target.
const (
	relayBatch       = 100
	relayConcurrency = 256
)

var relayName = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// relayFilter selects the events of a target. A member that is left out selects all.
type relayFilter struct {
	Numbers  []string `json:"phone_number_ids,omitempty" doc:"Only events of these phone number ids."`
	Accounts []string `json:"waba_ids,omitempty" doc:"Only events of these WhatsApp Business Accounts."`
	Tags     []string `json:"tags,omitempty" doc:"Only events of messages with one of these tags."`
	Client   string   `json:"client,omitempty" doc:"Only events of this client's messages and numbers. Of a number that is shared with other clients: only events of the client's messages."`
	Types    []string `json:"types,omitempty" doc:"Only these types of events: message, final, status, inbound, standby, handover, update, gap. The format meta has no form for message and gap."`
}

// relayRequest is the body of PUT /v1/relay/targets/{name}.
type relayRequest struct {
	URL         string `json:"url" doc:"Where the events are sent to: https://... The worker connects to public addresses only, and needs TLS, except for hosts in its setting relay.allowed_private_hosts."`
	Secret      string `json:"secret,omitempty" doc:"Signs each request, as Meta's app secret does: X-Hub-Signature-256. It cannot be read again. Without it a new target gets no signature, and a changed target keeps its secret."`
	Format      string `json:"format,omitempty" doc:"meta: as Meta's own webhooks. sluice: {\"events\":[...]} with events as in docs/events.md. Default: meta."`
	MessageIDs  string `json:"message_ids,omitempty" doc:"Which id the statuses have in the format meta. meta: Meta's. sluice: Sluice's, which the API answered when the message was accepted. Default: meta."`
	Batch       *int   `json:"batch,omitempty" doc:"Events in one request at most, 1 to 100. Default: 1."`
	Concurrency *int   `json:"concurrency,omitempty" doc:"Requests at the same time, 1 to 256: each worker makes its share, and at least one. Default: 16."`
	GiveUpAfter string `json:"give_up_after,omitempty" doc:"How long an event is retried while the target takes nothing, for example 24h. Default: 24h."`
	relayFilter
	order
}

// relayTarget is a target as operators see it.
type relayTarget struct {
	Name        string `json:"name" doc:"The name of the target."`
	URL         string `json:"url" doc:"Where the events are sent to. The values of its query are not shown."`
	Signed      bool   `json:"signed" doc:"Whether the requests are signed."`
	Format      string `json:"format" doc:"meta or sluice."`
	MessageIDs  string `json:"message_ids" doc:"Which id the statuses have in the format meta: meta or sluice."`
	Batch       int    `json:"batch" doc:"Events in one request at most."`
	Concurrency int    `json:"concurrency" doc:"Requests at the same time: each worker makes its share, and at least one."`
	GiveUpAfter string `json:"give_up_after" doc:"How long an event is retried while the target takes nothing."`
	relayFilter

	State       string    `json:"state" doc:"active: it takes events. failing: it took nothing for 5 minutes or more, and the workers try one request at a time. held: an operator holds it. waiting: no worker has relayed to it yet; check that a worker has the role relay."`
	Since       time.Time `json:"since,omitzero" doc:"When it began to fail, or when it was held."`
	Error       string    `json:"error,omitempty" doc:"Why the last request failed."`
	NextTry     time.Time `json:"next_try,omitzero" doc:"When the next request follows."`
	HeldBy      string    `json:"held_by,omitempty" doc:"The operator who holds it."`
	HeldReason  string    `json:"held_reason,omitempty" doc:"Why it is held."`
	LagSeconds  float64   `json:"lag_seconds" doc:"Age of the oldest event that waits. 0: none waits."`
	SetAside    int       `json:"set_aside" doc:"Number of events that wait for another try while later events are relayed."`
	DeadLetters int       `json:"dead_letters" doc:"Number of events that were given up. Each shard keeps about the last 1,000."`
	Gaps        int       `json:"gaps" doc:"How often Sluice dropped events before the target got them."`
	GapFrom     time.Time `json:"gap_from,omitzero" doc:"Of the last gap: events that were written from this time on were dropped."`
	GapTo       time.Time `json:"gap_to,omitzero" doc:"Of the last gap: events that were written from this time on were not dropped."`
}

// relayTargetList is the answer of GET /v1/relay/targets.
type relayTargetList struct {
	Targets []relayTarget `json:"targets" doc:"All targets, by name."`
}

// relaySetResult is the answer of PUT /v1/relay/targets/{name}.
type relaySetResult struct {
	Added bool `json:"added" doc:"true: it is new, and gets the events from now on. false: it was changed, and continues."`
}

// relayDone is the answer to the other orders.
type relayDone struct {
	Done bool `json:"done" doc:"The order is stored. Workers follow it within seconds."`
}

// relayReplay is the body of POST /v1/relay/targets/{name}/replay.
type relayReplay struct {
	Since       time.Time `json:"since,omitzero" doc:"Relay all events again that were written at this time or later, and are still kept."`
	DeadLetters bool      `json:"dead_letters,omitempty" doc:"true: relay the dead letters again."`
	order
}

// relayDeadLetters is the answer of GET /v1/relay/targets/{name}/dead-letters.
type relayDeadLetters struct {
	DeadLetters []relayDeadLetter `json:"dead_letters" doc:"The latest first."`
}

type relayDeadLetter struct {
	At    time.Time       `json:"at" doc:"When the event was given up."`
	Tries int             `json:"tries" doc:"How often it was tried."`
	Error string          `json:"error" doc:"Why the last request failed."`
	Event json.RawMessage `json:"event" doc:"The event, as in docs/events.md."`
}

// showURL returns a URL without the values of its query, which may be secret.
func showURL(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	if u.RawQuery != "" {
		u.RawQuery = "..."
	}
	return u.String()
}

func showRelayTarget(s message.RelayStatus) relayTarget {
	t := relayTarget{
		Name: s.Name, URL: showURL(s.URL), Signed: s.Encrypted != "", Format: s.Format, MessageIDs: s.MessageIDs, Batch: s.Batch, Concurrency: s.Concurrency,
		GiveUpAfter: s.GiveUpAfter.String(), relayFilter: relayFilter{s.Numbers, s.Accounts, s.Tags, s.Client, s.Types},
		State: s.State, Since: s.Since, Error: s.Error, NextTry: s.NextTry, HeldBy: s.HeldBy, HeldReason: s.HeldReason,
		LagSeconds: s.Lag.Round(time.Millisecond).Seconds(), SetAside: s.SetAside, DeadLetters: s.Dead,
		Gaps: s.Gaps, GapFrom: s.GapFrom, GapTo: s.GapTo,
	}
	if s.State == message.RelayHeld {
		t.Since = s.HeldSince
	}
	return t
}

// relayReach refuses a key that is not for all numbers: a target may get events of all.
func relayReach(key httpapi.Key) httpapi.Refusal {
	if !key.CoversAll() {
		return httpapi.Refuse("all_numbers_required")
	}
	return nil
}

func (c *Console) listRelayTargets(ctx context.Context, _ http.ResponseWriter, _ *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	if refused := relayReach(key); refused != nil {
		return nil, refused
	}
	all, err := c.o.Relay.List(ctx)
	if err != nil {
		return nil, c.unavailable("list relay targets", err)
	}
	shown := relayTargetList{Targets: []relayTarget{}}
	for _, t := range all {
		shown.Targets = append(shown.Targets, showRelayTarget(t))
	}
	return shown, nil
}

// definition checks a request, and returns the target that it defines.
func (r relayRequest) definition(name string) (message.RelayTarget, httpapi.Refusal) {
	t := message.RelayTarget{
		Name: name, URL: r.URL, Format: message.RelayMeta, MessageIDs: message.RelayMeta, Batch: 1, Concurrency: message.RelayConcurrency,
		GiveUpAfter: message.RelayGiveUpAfter, Numbers: r.Numbers, Accounts: r.Accounts, Tags: r.Tags, Client: r.Client, Types: r.Types,
	}
	var refused httpapi.Refusal
	wrong := func(path string, bad bool, code string) {
		if bad {
			refused = append(refused, httpapi.Problem(path, code))
		}
	}
	u, err := url.Parse(r.URL)
	wrong("name", !relayName.MatchString(name), "relay_name_invalid")
	wrong("client", r.Client != "" && !relayName.MatchString(r.Client), "relay_name_invalid")
	wrong("url", err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || len(r.URL) > 2000, "relay_url_invalid")
	one := func(path, value string, into *string) {
		if value != "" {
			*into = value
			wrong(path, value != message.RelayMeta && value != message.RelaySluice, "relay_format_unknown")
		}
	}
	one("format", r.Format, &t.Format)
	one("message_ids", r.MessageIDs, &t.MessageIDs)
	number := func(path string, value *int, most int, into *int) {
		if value != nil {
			*into = *value
			wrong(path, *value < 1 || *value > most, "relay_limit_invalid")
		}
	}
	number("batch", r.Batch, relayBatch, &t.Batch)
	number("concurrency", r.Concurrency, relayConcurrency, &t.Concurrency)
	if r.GiveUpAfter != "" {
		d, bad := span("give_up_after", r.GiveUpAfter)
		t.GiveUpAfter, refused = d, append(refused, bad...)
	}
	wrong("secret", r.Secret != "" && (len(r.Secret) < 8 || len(r.Secret) > 256 || strings.TrimSpace(r.Secret) != r.Secret), "relay_secret_invalid")
	wrong("types", slices.ContainsFunc(r.Types, func(kind string) bool { return !slices.Contains(message.EventTypes(), kind) }), "relay_type_unknown")
	ids := func(path string, all []string) {
		wrong(path, slices.ContainsFunc(all, func(id string) bool { return !message.IsNumberID(id) }), "phone_number_id_invalid")
	}
	ids("phone_number_ids", r.Numbers)
	ids("waba_ids", r.Accounts)
	wrong("tags", slices.ContainsFunc(r.Tags, func(tag string) bool { return !words(tag, 64) }), "tag_invalid")
	return t, append(refused, r.signed()...)
}

func (c *Console) setRelayTarget(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask relayRequest
	if refused := httpapi.ReadJSON(w, r, &ask); refused != nil {
		return nil, refused
	}
	t, refused := ask.definition(r.PathValue("name"))
	if refused == nil {
		refused = relayReach(key)
	}
	if refused != nil {
		return nil, refused
	}
	if ask.Secret != "" && !c.o.Relay.CanEncrypt() {
		return nil, httpapi.RefuseAt("secret", "secrets_key_missing")
	}
	if err := c.o.Audit.Add(ctx, ask.entry(message.VerbRelaySet, "relay target "+t.Name, key)); err != nil {
		return nil, c.unavailable("write audit log", err)
	}
	added, err := c.o.Relay.Set(ctx, t, ask.Secret)
	if err != nil {
		return nil, c.unavailable("set relay target", err)
	}
	c.orders.WithLabelValues(message.VerbRelaySet).Inc()
	return relaySetResult{added}, nil
}

// relayOrder returns a handler of an order about a target. f returns false if there is none.
func (c *Console) relayOrder(verb string, f func(ctx context.Context, name string, o order) (bool, error)) http.HandlerFunc {
	return c.handle(func(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
		var ask orderOnly
		refused := httpapi.ReadJSON(w, r, &ask)
		if refused == nil {
			refused = ask.signed()
		}
		if refused == nil {
			refused = relayReach(key)
		}
		if refused != nil {
			return nil, refused
		}
		return c.carryOut(ctx, verb, r.PathValue("name"), ask.order, key, f)
	})
}

// carryOut carries out an order about a target, and writes it to the audit log.
func (c *Console) carryOut(ctx context.Context, verb, name string, o order, key httpapi.Key, f func(ctx context.Context, name string, o order) (bool, error)) (any, httpapi.Refusal) {
	found, err := f(ctx, name, o)
	switch {
	case err != nil:
		return nil, c.unavailable("change relay target", err)
	case !found:
		return nil, httpapi.Refuse("relay_target_not_found")
	}
	if err := c.o.Audit.Add(ctx, o.entry(verb, "relay target "+name, key)); err != nil {
		return nil, c.unavailable("write audit log", err)
	}
	c.orders.WithLabelValues(verb).Inc()
	return relayDone{true}, nil
}

func (c *Console) replayRelayTarget(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	var ask relayReplay
	refused := httpapi.ReadJSON(w, r, &ask)
	if refused == nil {
		if refused = ask.signed(); ask.Since.IsZero() != ask.DeadLetters {
			refused = append(refused, httpapi.Problem("since", "relay_replay_unclear"))
		}
	}
	if refused == nil {
		refused = relayReach(key)
	}
	if refused != nil {
		return nil, refused
	}
	return c.carryOut(ctx, message.VerbReplay, r.PathValue("name"), ask.order, key, func(ctx context.Context, name string, _ order) (bool, error) {
		if ask.DeadLetters {
			return c.o.Relay.ReplayDead(ctx, name)
		}
		return c.o.Relay.Replay(ctx, name, ask.Since)
	})
}

func (c *Console) listRelayDeadLetters(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	if refused := relayReach(key); refused != nil {
		return nil, refused
	}
	limit, refused := limitOf(r)
	if refused != nil {
		return nil, refused
	}
	found, err := c.o.Relay.Dead(ctx, r.PathValue("name"), limit)
	if err != nil {
		return nil, c.unavailable("list dead letters of a relay target", err)
	}
	shown := relayDeadLetters{DeadLetters: []relayDeadLetter{}}
	for _, d := range found {
		shown.DeadLetters = append(shown.DeadLetters, relayDeadLetter{d.At, d.Tries, d.Error, json.RawMessage(d.Event)})
	}
	return shown, nil
}
