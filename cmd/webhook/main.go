// Webhook receives Meta's webhooks: it checks their signatures and writes their events to the event stream.
package main

import (
	"os"

	"sluice/internal/app"
)

func main() { os.Exit(app.Main("webhook", app.Programs["webhook"], os.Args[1:])) }
