package main

import (
	"context"
	"errors"
	"os"

	"sluice/internal/doctor"
)

type doctorCmd struct {
	Config     string   `env:"SLUICE_CONFIG" help:"The configuration file of the programs." placeholder:"FILE"`
	WebhookURL string   `help:"The public URL of the webhook. doctor calls it as Meta does, with a signed webhook without events." placeholder:"URL"`
	Number     []string `name:"phone-number-id" help:"Check only this number at Meta. Can be given several times. Default: all, up to 500." placeholder:"ID"`
	Fix        bool     `help:"Correct at Meta what can be corrected safely: subscribe the app to an account, and to the webhook fields that Sluice uses. It asks nothing, and prints what it did."`
	DryRun     bool     `help:"Print what --fix would do, and change nothing."`
	JSON       bool     `help:"Print the findings as JSON, for scripts."`
}

// Run prints the findings. It returns an error when a check failed.
func (d doctorCmd) Run(ctx context.Context, env getenv) error {
	var args []string
	if d.Config != "" {
		args = []string{"--config", d.Config}
	}
	report := doctor.Examine(ctx, doctor.Options{Args: args, Getenv: env, WebhookURL: d.WebhookURL, Numbers: d.Number, Fix: d.Fix, DryRun: d.DryRun})
	if d.JSON {
		if err := report.JSON(os.Stdout); err != nil {
			return err
		}
	} else {
		report.Text(os.Stdout)
	}
	if report.Failed() {
		return errors.New("a check failed: the lines that begin with fail say what to do")
	}
	return nil
}
