// Producer accepts messages over HTTP, stores them and puts them into the queue.
package main

import (
	"os"

	"sluice/internal/app"
)

func main() { os.Exit(app.Main("producer", app.Programs["producer"], os.Args[1:])) }
