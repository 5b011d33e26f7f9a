package app

import (
	"context"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/store"
)

// Mover moves messages as an operator's order does.
func Mover(db *store.DB, shards message.Shards) func(context.Context, message.Open, message.Move) (bool, error) {
	return desk{Ledger: ledger.New(db, ledger.Options{Shards: shards}), tasks: queue.NewClient(db, shards)}.Move
}

// Classes returns the class of a message whose caller names none.
var Classes = classes
