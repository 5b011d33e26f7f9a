package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"sluice/internal/golden"
)

//go:generate go test . -run TestCLIPage -update

const cliHead = `# The tool

<!-- Made from the command line of cmd/sluice by: make docs -->

All commands of ` + "`sluice`" + `. A command with ` + "`--config`" + ` reads Redis itself and needs the configuration of the programs
([configuration.md](configuration.md)). A command with ` + "`--api`" + ` needs an API key. A command with ` + "`--console`" + ` needs an API key with the scope
` + "`admin`" + `. [The runbook](runbook.md#where-to-run-sluice) shows where to run each. All read ` + "`.env`" + ` in the working
directory. ` + "`sluice <command> --help`" + ` prints the same.
`

// docs/cli.md is the tool's command line, written out.
func TestCLIPage(t *testing.T) {
	t.Parallel()
	var c cli
	parser, err := kong.New(&c, kong.Name("sluice"), kong.Bind(getenv(func(string) string { return "" })))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(cliHead)
	for _, command := range parser.Model.Leaves(true) {
		pageCommand(&b, command)
	}
	golden.File(t, filepath.Join("..", "..", "docs", "cli.md"), []byte(b.String()))
}

func pageCommand(b *strings.Builder, c *kong.Node) {
	fmt.Fprintf(b, "\n## `sluice %s`\n\n%s\n", c.Path(), c.Help)
	if c.Detail != "" {
		fmt.Fprintf(b, "\n%s\n", c.Detail)
	}
	var rows []string
	row := func(name string, v *kong.Value, env string) {
		def := v.Default
		if def != "" {
			def = "`" + def + "`"
		} else if v.Required {
			def = "required"
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |", name, env, def, v.Help))
	}
	for _, p := range c.Positional {
		row("<"+p.Name+">", p, "")
	}
	for _, f := range c.Flags {
		var env []string
		for _, name := range f.Envs {
			env = append(env, "`"+name+"`")
		}
		if !f.Hidden && f.Name != "help" {
			row("--"+f.Name, f.Value, strings.Join(env, ", "))
		}
	}
	if len(rows) > 0 {
		b.WriteString("\n| argument | environment | default | meaning |\n| --- | --- | --- | --- |\n" + strings.Join(rows, "\n") + "\n")
	}
}
