package main

import (
	"fmt"

	"sluice/internal/outbox"
)

type outboxCmd struct {
	Schema outboxSchemaCmd `cmd:"" help:"Print the SQL that creates the table of the outbox, for your own migrations. See docs/outbox.md."`
}

type outboxSchemaCmd struct {
	Table string `default:"sluice_outbox" help:"Name of the table, or schema.name: the same as outbox.table in the configuration."`
}

// Run prints the SQL.
func (c outboxSchemaCmd) Run() error {
	_, err := fmt.Print(outbox.Schema(c.Table))
	return err
}
