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
	TokenFile     string        `help:"File with the access token that requests must have. Without it every token is accepted." placeholder:"FILE"`
	Rate          int           `default:"80" help:"Messages per second that a number may send. 0: no limit."`
	Seed          uint64        `default:"1" help:"Seed of all random choices."`
	Latency       graphsim.Span `default:"20ms..80ms" help:"Time to answer."`
	Throttle      float64       `help:"Share of messages that are refused with 130429."`
	ErrorBefore   float64       `help:"Share of messages that are answered with 5xx and not accepted."`
	ErrorAfter    float64       `help:"Share of messages that are accepted and answered with 5xx."`
	Lost          float64       `help:"Share of messages that are accepted without an answer."`
	Reset         float64       `help:"Share of messages that are not accepted and whose connection is reset."`
	Hang          float64       `help:"Share of messages that get no answer. Every second one is accepted."`
	Scenario      string        `help:"YAML file with accounts, numbers, templates and a script. See docs/simulator.md." placeholder:"FILE"`
	PairLimit     bool          `default:"true" negatable:"" help:"Allow one message in 6 s to the same recipient, with a burst of 45. More are refused with 131056."`
	Window        bool          `help:"Only templates reach recipients who have not written for 24 hours."`
	WebhookURL    string        `help:"URL for webhooks. Without it the simulator sends none." placeholder:"URL"`
	AppSecretFile string        `help:"File with the app secret that signs webhooks." placeholder:"FILE"`
	Delay         graphsim.Span `default:"50ms..500ms" help:"Time before each status."`
	Read          float64       `default:"0.7" help:"Share of delivered messages that are read."`
	Tap           float64       `default:"0.5" help:"Share of messages with buttons for which the recipient taps one."`
	Fail          float64       `help:"Share of messages that are reported as failed."`
	Double        float64       `help:"Share of statuses that are sent twice."`
	Shuffle       float64       `help:"Share of messages whose statuses come out of order."`
	Batch         int           `default:"20" help:"Maximum number of statuses in one webhook."`
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
