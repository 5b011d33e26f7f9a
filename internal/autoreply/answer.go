package autoreply

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/quiethours"
	"sluice/internal/store"
	"sluice/internal/suppression"
)

//go:embed admit.lua
var admitLua string

const (
	// loopMost answers within loopWithin go to a person from a number: a person does not write more, another bot does.
	loopMost   = 5
	loopWithin = 10 * time.Minute
	// welcomeAfter is how long a person must not have written before the welcome text.
	welcomeAfter = 30 * 24 * time.Hour
)

// reply is the answer to a message: no object is none.
type reply struct {
	by      string // what answered: a label of the metric; empty: loop protection, which is counted already
	objects []json.RawMessage
	name    string // of the message that is answered
}

// personKey is what is known of the answers to a person: "sent", "met" or "away".
func personKey(s message.Shard, what, number, person string) string {
	return store.Key(s, "replies:"+what+":"+number+":"+hex.EncodeToString([]byte(person)))
}

// nameOf is a name for the message with Meta's id: the id itself contains a phone number.
func nameOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:12])
}

// answer answers a message, if it gets an answer. With an error it must be repeated, which does no harm.
func (r *Replier) answer(ctx context.Context, it *item) error {
	if time.Since(it.in.At)+r.db.ClockOffset() > maxAge {
		r.missed(it.number, missedOld, nil)
		return nil
	}
	if r.o.Stops(it.in.Texts) {
		return nil
	}
	person, err := r.o.Person(ctx, it.number, it.in.To)
	if err != nil {
		return fmt.Errorf("find the person: %w", err)
	}
	if it.reply == nil {
		if it.reply, err = r.decide(ctx, it, person); err != nil {
			return err
		}
	}
	if len(it.reply.objects) == 0 {
		if it.reply.by != "" {
			r.metrics.replies[it.reply.by].Inc()
		}
		return nil
	}
	admitted, err := r.admitted(ctx, it, person, 1)
	if err != nil {
		return err
	}
	if !admitted {
		r.missed(it.number, missedLoop, nil)
		return nil
	}
	return r.send(ctx, it)
}

// admitted reports whether a person may get another answer, and counts it with count 1.
func (r *Replier) admitted(ctx context.Context, it *item, person string, count int) (bool, error) {
	key := personKey(r.o.Shards.Of(it.number), "sent", it.number, person)
	n, err := r.db.Run(ctx, r.admit, []string{key}, nameOf(it.in.ID), loopWithin.Milliseconds(), loopMost, count).Int()
	if err != nil {
		return false, fmt.Errorf("count answers: %w", err)
	}
	return n == 1, nil
}

// decide returns the answer to a message.
func (r *Replier) decide(ctx context.Context, it *item, person string) (*reply, error) {
	name, s := nameOf(it.in.ID), it.settings
	first := false
	if s.Welcome != "" { // each message counts, also one that something else answers
		var err error
		if first, err = r.once(ctx, it.number, person, "met", name, welcomeAfter, true); err != nil {
			return nil, err
		}
	}
	if may, err := r.admitted(ctx, it, person, 0); err != nil {
		return nil, err
	} else if !may {
		r.missed(it.number, missedLoop, nil)
		return &reply{}, nil
	}
	for _, text := range it.in.Texts {
		if answer := s.texts[suppression.Word(text)]; answer != "" {
			return textReply(byRule, name, answer), nil
		}
	}
	if s.Hook != nil {
		objects, answered, failure := r.ask(ctx, it)
		if ctx.Err() != nil {
			return nil, ctx.Err() // a stop interrupted the call
		}
		if failure != "" {
			r.missed(it.number, failure, nil)
		}
		if answered {
			return &reply{by: byHook, objects: objects, name: name}, nil
		}
	}
	if away := s.Away; away != nil {
		now := time.Now().Add(r.db.ClockOffset())
		if end := quiethours.End(config.QuietHours{From: away.From, To: away.To, Days: away.Days, Zone: away.Zone}, now); !end.IsZero() {
			due, err := r.once(ctx, it.number, person, "away", name, end.Sub(now), false)
			if err != nil {
				return nil, err
			}
			if due {
				return textReply(byAway, name, away.Text), nil
			}
		}
	}
	if first {
		return textReply(byWelcome, name, s.Welcome), nil
	}
	return &reply{by: byNone}, nil
}

// once reports whether a message is the first one of a person in a time. The time begins with the first message, or with each one. Repeated for
// the same message, the result is the same.
func (r *Replier) once(ctx context.Context, number, person, what, name string, within time.Duration, each bool) (bool, error) {
	key := personKey(r.o.Shards.Of(number), what, number, person)
	var before *redis.StatusCmd
	err := r.db.Pipe(ctx, func(p redis.Pipeliner) {
		before = p.SetArgs(ctx, key, name, redis.SetArgs{Mode: "NX", Get: true, TTL: max(within, time.Second)})
		if each {
			p.PExpire(ctx, key, within)
		}
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return false, fmt.Errorf("find out whether a person wrote before: %w", err)
	}
	was := before.Val()
	return was == "" || was == name, nil
}

func textReply(by, name, text string) *reply {
	object, _ := json.Marshal(map[string]any{"type": "text", "text": map[string]string{"body": text}}) // cannot fail for strings
	return &reply{by: by, objects: []json.RawMessage{object}, name: name}
}

// send accepts the answer with the rights of the API key of the number.
func (r *Replier) send(ctx context.Context, it *item) error {
	orders := make([]message.Order, len(it.reply.objects))
	for i, object := range it.reply.objects {
		body, err := orderOf(it.number, it.in, object)
		if err != nil {
			return err
		}
		orders[i] = message.Order{Body: body, Key: "reply:" + it.reply.name + ":" + strconv.Itoa(i)}
	}
	results, err := r.o.Accept(ctx, it.settings.APIKey, orders)
	if err != nil {
		return err
	}
	repeated := true
	for _, v := range results {
		switch {
		case v.Retry:
			return errors.New("storage is unavailable or nearly full")
		case v.Code == "service_window_closed": // the message opens the window as soon as a worker has applied it
			return errors.New("the customer service window of the person is not known to be open yet")
		case v.Code == "idempotency_key_reused": // an earlier try was accepted, with another answer of the hook
		case v.Code != "":
			r.missed(it.number, missedRefused, fmt.Errorf("the message was refused: %s", v.Code))
		case !v.Duplicate:
			repeated = false
		}
	}
	if !repeated {
		r.metrics.replies[it.reply.by].Inc()
	}
	return nil
}

// orderOf returns the body of the request that sends an object to the person who wrote a message.
func orderOf(number string, in cloudapi.Inbound, object json.RawMessage) ([]byte, error) {
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(object, &members); err != nil {
		return nil, errors.New("the answer is not an object") // the error of json may quote the text
	}
	for _, name := range []string{"to", "recipient", "recipient_type"} { // an answer goes to the person who wrote, whatever the hook says
		delete(members, name)
	}
	to := "to"
	if message.IsUserID(in.To) {
		to = "recipient"
	}
	members[to], _ = json.Marshal(in.To) // cannot fail for a string
	return json.Marshal(map[string]any{
		"from": number, "class": message.Service, "tags": []string{"auto-reply"}, "expires_at": in.At.Add(maxAge).UTC().Format(time.RFC3339), "message": members,
	})
}
