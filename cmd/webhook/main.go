// Webhook takes Meta's webhooks in: it checks their signature and writes them to the event stream.
package main

import (
	"os"

	"sluice/internal/app"
)

func main() { os.Exit(app.Main("webhook", app.Webhook, os.Args[1:])) }
