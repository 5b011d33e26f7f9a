// Producer is Sluice's front door: it takes orders for messages over HTTP and puts them in the queue.
package main

import (
	"os"

	"sluice/internal/app"
)

func main() { os.Exit(app.Main("producer", app.Producer, os.Args[1:])) }
