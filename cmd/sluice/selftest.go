package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"sluice/client"
	"sluice/internal/canary"
	"sluice/internal/config"
)

type selftestCmd struct {
	Config   string        `env:"SLUICE_CONFIG" help:"Configuration file with the list canary: without --to, the recipient and the message are those of the number there." placeholder:"FILE"`
	From     string        `env:"PHONE_NUMBER_ID" help:"Phone number id of the sender. It can be left out if the list canary has one number." placeholder:"ID"`
	To       string        `help:"Recipient, with its plus: a phone of yours." placeholder:"NUMBER"`
	Template string        `xor:"content" help:"Template without parameters to send, as name/language." placeholder:"TEMPLATE"`
	Text     string        `xor:"content" help:"Text to send. Meta delivers it only if the recipient wrote to the number in the last 24 hours. Default: \"Sluice selftest\"."`
	Within   time.Duration `default:"2m" help:"How long the message may take until it is delivered, at least 1s."`
	apiFlags
}

// Validate is called when the command line was read.
func (s selftestCmd) Validate() error {
	if s.Within < time.Second {
		return errors.New("--within is shorter than 1s: give the message time to be delivered, for example 2m")
	}
	return nil
}

func (s selftestCmd) Run(ctx context.Context, env getenv) error {
	from, content, err := s.message(env)
	if err != nil {
		return err
	}
	return s.run(ctx, client.New(s.API, s.APIKey, client.WithRetryFor(sendRetry)), from, content, os.Stdout)
}

// message returns the number that sends, and Meta's message object: of the flags, or of the list canary.
func (s selftestCmd) message(env getenv) (from string, content any, err error) {
	c := config.Canary{Number: s.From, To: config.Secret(s.To), Text: "Sluice selftest"}
	if s.To == "" {
		if c, err = s.configured(env); err != nil {
			return "", nil, err
		}
	}
	if s.Template != "" || s.Text != "" {
		c.Template, c.Text = s.Template, s.Text
	}
	if c.Number == "" {
		return "", nil, errors.New("--from is missing: give the phone number id of the sender")
	}
	return c.Number, canary.Content(string(c.To), c.Template, c.Text), nil
}

// configured returns the canary of the number in the configuration.
func (s selftestCmd) configured(env getenv) (config.Canary, error) {
	var args []string
	if s.Config != "" {
		args = []string{"--config", s.Config}
	}
	all, err := config.LoadCanaries(args, env)
	if err != nil {
		return config.Canary{}, err
	}
	for _, c := range all {
		if c.Number == s.From || s.From == "" && len(all) == 1 {
			return c, nil
		}
	}
	return config.Canary{}, errors.New("no recipient: give --to, or add the number to the list canary of the configuration and give --config and --from")
}

// run sends the message, and prints the steps to out as they come. It returns the step that did not come as an error.
func (s selftestCmd) run(ctx context.Context, api *client.Client, from string, content any, out io.Writer) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.Within, fmt.Errorf("it did not come within %s", s.Within))
	defer cancel()
	report := func(r canary.Reached) {
		fmt.Fprintf(out, "%s  %7.2f s  %-10s  %s\n", r.At.Local().Format("15:04:05.000"), r.Seconds, r.Step, r.Step.Meaning())
	}
	if s.JSON {
		report = nil
	}
	result := canary.Probe(ctx, api, canary.Message(from, content, "selftest-"+rand.Text(), time.Now().Add(s.Within)), report)
	if s.JSON {
		if err := json.NewEncoder(out).Encode(result); err != nil {
			return err
		}
	} else if result.ID != "" {
		fmt.Fprintln(out, "message", result.ID)
	}
	if result.Missing != "" {
		return result
	}
	return nil
}
