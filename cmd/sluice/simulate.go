package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/graphsim"
	"sluice/internal/ops"
)

type simulateCmd struct {
	Listen        string        `default:":8070" help:"Where the simulated Graph API listens."`
	TokenFile     string        `help:"File with the token that calls must carry; without it any will do." placeholder:"FILE"`
	Rate          int           `default:"80" help:"Messages a second that a number may send; 0 for no limit."`
	Seed          uint64        `default:"1" help:"Seed of all chance."`
	Latency       graphsim.Span `default:"20ms..80ms" help:"Time to answer."`
	Throttle      float64       `help:"Share of messages refused with 130429."`
	ErrorBefore   float64       `help:"Share answered 5xx and not taken."`
	ErrorAfter    float64       `help:"Share taken and answered 5xx."`
	Lost          float64       `help:"Share taken, the answer lost."`
	Reset         float64       `help:"Share not taken, the connection reset."`
	Hang          float64       `help:"Share never answered, every other one taken."`
	Scenario      string        `help:"YAML file with the set-up at Meta and a script; see docs/simulator.md." placeholder:"FILE"`
	PairLimit     bool          `default:"true" negatable:"" help:"One message in 6 s to the same recipient, 45 on credit; more are refused with 131056."`
	Window        bool          `help:"Only templates reach who has not written for 24 hours."`
	WebhookURL    string        `help:"Where to report; without it nothing is." placeholder:"URL"`
	AppSecretFile string        `help:"File with the app secret that signs reports." placeholder:"FILE"`
	Delay         graphsim.Span `default:"50ms..500ms" help:"Time before each report."`
	Read          float64       `default:"0.7" help:"Share of delivered messages that are read."`
	Tap           float64       `default:"0.5" help:"Share of messages with buttons that are answered."`
	Fail          float64       `help:"Share of messages reported as failed."`
	Double        float64       `help:"Share of reports made twice."`
	Shuffle       float64       `help:"Share of messages whose reports come out of order."`
	Batch         int           `default:"20" help:"Most reports in one webhook."`
}

func (s simulateCmd) Run(ctx context.Context) error {
	token, err := secretFile(s.TokenFile)
	if err != nil {
		return err
	}
	secret, err := secretFile(s.AppSecretFile)
	if err != nil {
		return err
	}
	faults := graphsim.Faults{
		Latency: s.Latency, Throttle: s.Throttle, ErrorBefore: s.ErrorBefore, ErrorAfter: s.ErrorAfter,
		Lost: s.Lost, Reset: s.Reset, Hang: s.Hang,
	}
	options := graphsim.Options{
		Token: token, Rate: s.Rate, Seed: s.Seed, Faults: faults, PairLimit: s.PairLimit, Window: s.Window,
		Webhook: graphsim.Webhook{
			URL: s.WebhookURL, Secret: secret, Delay: s.Delay, Read: s.Read, Tap: s.Tap, Fail: s.Fail,
			Double: s.Double, Shuffle: s.Shuffle, Batch: s.Batch,
		},
	}
	if err := options.Validate(); err != nil {
		return err
	}
	if s.Scenario != "" {
		if err := graphsim.ReadScenario(s.Scenario, &options); err != nil {
			return err
		}
	}
	sim := graphsim.New(options)
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Printf("simulated Graph API on http://%s; what it saw: /_sim/stats\n", l.Addr())
	var g errgroup.Group
	g.Go(func() error { return sim.Run(ctx) })
	g.Go(func() error {
		return ops.Serve(ctx, l, sim.Handler(), ops.ServeOptions{WriteTimeout: time.Minute, Grace: time.Second})
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if unused := sim.Unused(); len(unused) > 0 {
		return fmt.Errorf("steps of the scenario that nothing used: %s", strings.Join(unused, ", "))
	}
	return nil
}

// secretFile reads a secret; no path is no secret.
func secretFile(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read secret: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
