// Worker sends the messages in the queues to Meta at the effective rate of each number, records the outcomes, and applies
// what Meta reports later.
package main

import (
	"os"

	"sluice/internal/app"
)

func main() { os.Exit(app.Main("worker", app.Programs["worker"], os.Args[1:])) }
