// Worker drains the queues: it sends messages to Meta at each number's pace, writes down what came of
// each, and folds in what Meta reports later.
package main

import (
	"os"

	"sluice/internal/app"
)

func main() { os.Exit(app.Main("worker", app.Worker, os.Args[1:])) }
