package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"sluice/client"
	"sluice/internal/message"
)

// sendRetry is for how long a message is repeated after a temporary failure. An operator waits for it.
const sendRetry = 5 * time.Second

type sendCmd struct {
	API    string       `default:"http://127.0.0.1:8080" env:"SLUICE_API" help:"Base URL of the API."`
	APIKey string       `env:"SLUICE_API_KEY" required:"" help:"API key; better in the environment than on the command line."`
	From   string       `env:"PHONE_NUMBER_ID" required:"" help:"Phone number id of the sender."`
	To     string       `help:"Recipient of --text, with its plus."`
	Text   string       `help:"Send this text."`
	File   string       `arg:"" optional:"" help:"File with Meta's message object, - for standard input."`
	Class  client.Class `help:"authentication, service, utility or marketing."`
	Key    *string      `help:"Idempotency key: the same key sends once. Default: a new one."`
	Ref    *string      `help:"Your own reference."`
	Tag    []string     `help:"A label; may be repeated."`
	afterFlags
	Wait time.Duration `help:"Follow the message for this long at most, for example 30s, and print what happens and what it waits for. Exit code 0: it was delivered. 1: it was not, or not yet."`
}

// afterFlags say which message a message waits for.
type afterFlags struct {
	After       *string       `xor:"after" help:"Send it after the message with this id, of the same number." placeholder:"ID"`
	AfterKey    *string       `xor:"after" help:"Send it after the message with this idempotency key, of the same number." placeholder:"KEY"`
	AfterState  client.State  `default:"delivered" enum:"submitted,sent,delivered,read" help:"The state that the other message must reach: submitted, sent, delivered or read." placeholder:"STATE"`
	AfterWithin time.Duration `help:"How long it waits, for example 2h. Then it expires. Default: 24h." placeholder:"TIME"`
	AfterNot    bool          `help:"The opposite: send it if the other message has not reached the state within this time."`
}

// after returns what the message waits for; nil: it waits for none.
func (f afterFlags) after() *client.After {
	if f.After == nil && f.AfterKey == nil {
		return nil
	}
	a := &client.After{ID: valueOf(f.After), Key: valueOf(f.AfterKey), State: f.AfterState, Not: f.AfterNot}
	if f.AfterWithin != 0 {
		a.Within = f.AfterWithin.String()
	}
	return a
}

// Validate is called when the command line was read. A key that is given and empty, because a variable of a script is
// not set, must not send a message without a key.
func (s sendCmd) Validate() error {
	switch {
	case s.Key != nil && strings.TrimSpace(*s.Key) == "":
		return errors.New("--key is empty: give a key, or leave the flag out")
	case s.Ref != nil && *s.Ref == "":
		return errors.New("--ref is empty: give a reference, or leave the flag out")
	case s.After != nil && *s.After == "", s.AfterKey != nil && *s.AfterKey == "":
		return errors.New("--after or --after-key is empty: give the message to wait for, or leave the flag out")
	}
	return nil
}

func (s sendCmd) Run(ctx context.Context) error {
	object, err := s.object()
	if err != nil {
		return err
	}
	r, err := client.New(s.API, s.APIKey, client.WithRetryFor(sendRetry)).Send(ctx, client.Message{
		From: s.From, Content: object, Class: s.Class, Key: valueOf(s.Key), Ref: valueOf(s.Ref), Tags: s.Tag, After: s.after(),
	})
	if err != nil {
		return err
	}
	duplicate := ""
	if r.Duplicate {
		duplicate = " (this key was used before: nothing new was sent)"
	}
	fmt.Printf("%s %s%s\n", r.ID, r.State, duplicate)
	if s.Wait == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.Wait, fmt.Errorf("the message was not delivered within %s. Sluice goes on with it: `sluice explain %s` says what it waits for", s.Wait, r.ID))
	defer cancel()
	return follower{once(s.API, s.APIKey), os.Stdout, 300 * time.Millisecond, 2 * time.Second}.follow(ctx, r.ID)
}

func (s sendCmd) object() (json.RawMessage, error) {
	if s.Text != "" {
		return json.Marshal(map[string]any{"to": s.To, "type": "text", "text": map[string]any{"body": s.Text}})
	}
	switch s.File {
	case "":
		return nil, fmt.Errorf("nothing to send: give --text and --to, or a file with Meta's message object")
	case "-":
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(s.File)
}

// follower prints what happens to a message.
type follower struct {
	api   *client.Client
	out   io.Writer
	every time.Duration // between two requests
	quiet time.Duration // how long nothing happens before it asks what the message waits for
}

// follow prints the timeline of a message as it grows and, while nothing happens, what the message waits for.
// It returns nil when the message is delivered, and an error when it is lost or parked, or when ctx ends.
func (f follower) follow(ctx context.Context, id string) error {
	shown, news, said := 0, time.Now(), ""
	for {
		r, err := f.api.Get(ctx, id)
		if err != nil && ctx.Err() == nil {
			return err
		}
		for ; shown < len(r.Timeline); shown++ {
			t := r.Timeline[shown]
			fmt.Fprintf(f.out, "%s  %-10s attempt %d", t.At.Local().Format("15:04:05.000"), t.State, t.Attempt)
			if t.Code != 0 {
				fmt.Fprintf(f.out, "  code %d", t.Code)
			}
			if t.Reason != "" {
				fmt.Fprintf(f.out, "  %s", t.Reason)
			}
			fmt.Fprintln(f.out)
			news, said = time.Now(), ""
		}
		switch {
		case r.State == client.StateDelivered || r.State == client.StateRead || r.State == client.StatePlayed:
			return nil
		case r.Final || r.State == client.StateParked:
			showError(r.Error, func(name, value string) { fmt.Fprintf(f.out, "%s: %s\n", name, value) })
			return fmt.Errorf("the message is %s: %s", r.State, message.State(r.State).Meaning())
		case ctx.Err() == nil && time.Since(news) >= f.quiet:
			news = time.Now()
			if why := f.explain(ctx, id); why != said && why != "" {
				said = why
				fmt.Fprintln(f.out, why)
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(f.every):
		}
	}
}

// explain returns what a message waits for, or nothing when the API does not say it.
func (f follower) explain(ctx context.Context, id string) string {
	e, err := f.api.Explain(ctx, id)
	if err != nil {
		return ""
	}
	until := ""
	if !e.Until.IsZero() && e.Rule != "queue" { // for the queue it is an estimate, which changes
		until = ", until " + clock(e.Until, "")
	}
	return fmt.Sprintf("waits (%s%s): %s", e.Rule, until, e.Detail)
}

// valueOf returns what is given, else zero.
func valueOf[T any](given *T) (value T) {
	if given != nil {
		value = *given
	}
	return value
}
