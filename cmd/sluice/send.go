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

	"sluice/internal/client"
	"sluice/internal/message"
)

type sendCmd struct {
	API    string        `default:"http://127.0.0.1:8080" env:"SLUICE_API" help:"Base URL of the API."`
	APIKey string        `env:"SLUICE_API_KEY" required:"" help:"API key; better in the environment than on the command line."`
	From   string        `env:"PHONE_NUMBER_ID" required:"" help:"Phone number id of the sender."`
	To     string        `help:"Recipient of --text, with its plus."`
	Text   string        `help:"Send this text."`
	File   string        `arg:"" optional:"" help:"File with Meta's message object, - for standard input."`
	Class  message.Class `help:"authentication, service, utility or marketing."`
	Key    *string       `help:"Idempotency key: the same key sends once."`
	Ref    *string       `help:"Your own reference."`
	Tag    []string      `help:"A label; may be repeated."`
	Wait   time.Duration `help:"Follow the message until it is delivered, read or lost, so long at most; 30s say."`
}

// Validate is called when the command line was read. A key that is given and empty, by a variable
// of a script that is not set, must not send without one.
func (s sendCmd) Validate() error {
	switch {
	case s.Key != nil && strings.TrimSpace(*s.Key) == "":
		return errors.New("--key is empty: give one, or leave it out")
	case s.Ref != nil && *s.Ref == "":
		return errors.New("--ref is empty: give one, or leave it out")
	}
	return nil
}

func (s sendCmd) Run(ctx context.Context) error {
	object, err := s.object()
	if err != nil {
		return err
	}
	api := &client.Client{Base: s.API, Key: s.APIKey}
	r, err := api.Send(ctx, client.Order{From: s.From, Message: object, Class: s.Class, Key: valueOf(s.Key), Ref: valueOf(s.Ref), Tags: s.Tag})
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
	ctx, cancel := context.WithTimeoutCause(ctx, s.Wait, fmt.Errorf("not settled within %s; see GET /v1/messages/%s", s.Wait, r.ID))
	defer cancel()
	return s.follow(ctx, api, r.ID)
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

// follow prints the timeline as it grows.
func (s sendCmd) follow(ctx context.Context, api *client.Client, id string) error {
	shown := 0
	for {
		r, err := api.Get(ctx, id)
		if err != nil && ctx.Err() == nil {
			return err
		}
		for ; shown < len(r.Timeline); shown++ {
			t := r.Timeline[shown]
			fmt.Printf("%s  %-10s attempt %d", t.At.Local().Format("15:04:05.000"), t.State, t.Attempt)
			if t.Code != 0 {
				fmt.Printf("  code %d", t.Code)
			}
			if t.Reason != "" {
				fmt.Printf("  %s", t.Reason)
			}
			fmt.Println()
		}
		if r.State.Final() || r.State == message.Parked {
			errorShown(r.Error).show(func(name, value string) { fmt.Printf("%s: %s\n", name, value) })
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(300 * time.Millisecond):
		}
	}
}
