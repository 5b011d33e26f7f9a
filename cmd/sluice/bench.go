package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"sluice/internal/bench"
	"sluice/internal/rig"
)

type benchCmd struct {
	Name       string        `arg:"" enum:"pace,clients,urgent,idle,drain,cold,life,instructions,foreign,peers,intake,webhook,feed,relay,memory,all" help:"Which: pace, clients, urgent, idle, drain, cold, life, instructions, foreign, peers, intake, webhook, feed, relay, memory or all. docs/performance.md describes them."`
	Rate       int           `help:"Messages per second and number." placeholder:"N"`
	Workers    int           `help:"Number of worker processes." placeholder:"N"`
	Numbers    int           `help:"Number of phone numbers. For idle: numbers without messages." placeholder:"N"`
	Backlog    int           `help:"Number of messages that wait at the start." placeholder:"N"`
	Duration   time.Duration `help:"Length of each measurement." placeholder:"TIME"`
	Durability string        `enum:"fsync,relaxed," default:"" help:"Durability of Redis: fsync or relaxed."`
	Rounds     int           `help:"Number of rounds of cold, life, peers and relay." placeholder:"N"`
	Peers      string        `default:"out/peers" help:"Folder with the packages for peers; make bench-peers fills it." placeholder:"DIR"`
	Profiles   string        `type:"existingdir" help:"Write CPU profiles of the programs and the commands of Redis into this folder." placeholder:"DIR"`
	JSON       bool          `name:"json" xor:"form" help:"Print one JSON object per line."`
	Markdown   bool          `xor:"form" help:"Print tables for docs/performance.md at the end."`
}

func (b benchCmd) Run(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program, to start parts of it: %w", err)
	}
	var rows []bench.Row
	show := func(r bench.Row) { r.Print(os.Stdout) }
	switch {
	case b.JSON:
		lines := json.NewEncoder(os.Stdout)
		show = func(r bench.Row) { lines.Encode(r) }
	case b.Markdown:
		show = func(r bench.Row) { rows = append(rows, r) }
	}
	err = bench.Run(ctx, b.Name, bench.Options{
		Rate: b.Rate, Workers: b.Workers, Numbers: b.Numbers, Backlog: b.Backlog,
		Duration: b.Duration, Durability: b.Durability, Profiles: b.Profiles, Rounds: b.Rounds, Peers: b.Peers,
		Program: program, Log: os.Stderr,
	}, show)
	if b.Markdown {
		bench.Markdown(os.Stdout, rows)
	}
	return err
}

type partCmd struct {
	Args []string `arg:"" optional:"" help:"Part and its settings."`
}

// Run is one process of a load run or of the fault matrix.
func (p partCmd) Run() error {
	os.Exit(rig.Run(p.Args, bench.Parts))
	return nil
}
