// Command orders sends order messages through Sluice with the package client.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"sluice/client"
)

const usage = `usage:
  orders place ORDER PHONE   sends "we got your payment"
  orders ship ORDER PHONE    sends "it is on its way", after the message of place was delivered
  orders watch               reads how each message ended, and reacts
  orders serve PORT          receives the statuses that the relay sends`

const (
	shop = "shop-go" // the tag of our messages, and the name of our cursor
	seen = "seen"    // a directory, see first
)

func main() {
	log.SetFlags(0)
	if err := run(context.Background(), os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	api := os.Getenv("SLUICE_API")
	if api == "" {
		api = "http://127.0.0.1:8080"
	}
	c := client.New(api, os.Getenv("SLUICE_API_KEY"))
	switch {
	case len(args) == 3 && args[0] == "place":
		return send(ctx, c, args[1], args[2], "paid", nil)
	case len(args) == 3 && args[0] == "ship":
		return send(ctx, c, args[1], args[2], "shipped", &client.After{Key: "order-" + args[1] + "-paid", State: client.StateDelivered})
	case len(args) == 1 && args[0] == "watch":
		return watch(ctx, c)
	case len(args) == 2 && args[0] == "serve":
		server := http.Server{Addr: "127.0.0.1:" + args[1], Handler: http.HandlerFunc(webhook), ReadTimeout: 10 * time.Second}
		return server.ListenAndServe()
	}
	return errors.New(usage)
}

// send sends a message about an order. The client repeats the request while there is no clear answer: the request may
// have arrived, and a message with the same key is not sent twice.
func send(ctx context.Context, c *client.Client, order, phone, event string, after *client.After) error {
	// The key is made from the order, not at random. So a double click, a retry or a second run is the same message.
	key := "order-" + order + "-" + event
	accepted, err := c.Send(ctx, client.Message{
		From:  os.Getenv("PHONE_NUMBER_ID"),
		Key:   key,
		Ref:   key, // every event of the message has it
		Tags:  []string{shop},
		Class: client.ClassUtility,
		After: after,
		// A template is the only type that Meta accepts when the customer has not written in the last 24 hours.
		Content: client.Template(phone, "order_"+event, "en_US", order),
	})
	if err != nil {
		return err
	}
	verdict := "accepted"
	if accepted.Duplicate {
		verdict = "duplicate"
	}
	fmt.Printf("%s: %s %s\n", key, verdict, accepted.ID)
	return nil
}

// watch reads the final events of our messages: one for each message that has ended.
func watch(ctx context.Context, c *client.Client) error {
	var last error
	options := client.EventOptions{CursorName: shop, Tags: []string{shop}, Types: []client.EventType{client.EventFinal}, From: "oldest"}
	for event, err := range c.Events(ctx, options) {
		if problem, ok := errors.AsType[*client.Problem](err); ok && problem.Code == client.CodeCursorTooOld {
			// This program was stopped for longer than Sluice keeps events. The loop continues with the oldest event that is available.
			fmt.Println("events were dropped: read the open orders with GET /v1/messages")
			continue
		}
		if last = err; err != nil {
			log.Print(err) // the loop tries again, or ends
			continue
		}
		// An event can come twice, for example if this program was stopped before it asked for the next one.
		isNew, err := first(event)
		if err != nil {
			return err // without an acknowledgement the event comes again
		}
		if isNew {
			react(event.Message.Ref, event.Final)
		}
	}
	return last
}

func react(ref string, final *client.Final) {
	switch final.Result {
	case client.ResultDelivered:
		fmt.Printf("%s: delivered\n", ref)
	case client.ResultNotDelivered:
		// It is certain that the message was not delivered, so the customer does not get the news twice.
		fmt.Printf("%s: fallback by SMS: %s\n", ref, final.Text)
	default:
		// The message may have been delivered. A program cannot find out: a person decides.
		fmt.Printf("%s: a person must ask the customer: %s\n", ref, final.Text)
	}
}

// first reports whether v is seen for the first time. Use a table with a unique key in place of the files, in the same
// transaction as the reaction.
func first(v any) (bool, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return false, err
	}
	if err := os.MkdirAll(seen, 0o700); err != nil {
		return false, err
	}
	sum := sha256.Sum256(text)
	file, err := os.OpenFile(filepath.Join(seen, hex.EncodeToString(sum[:])), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	_, err = file.Write(text)
	return err == nil, errors.Join(err, file.Close())
}

// notification is what we need of a webhook in Meta's form.
type notification struct {
	Entry []struct {
		Changes []struct {
			Value struct {
				Statuses []struct {
					ID, Status string
					Sluice     struct{ Ref string }
				}
			}
		}
	}
}

// webhook handles a request of the relay.
func webhook(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	// The signature is of the bytes as they came, not of JSON that was read and written again. VerifyWebhook takes the
	// same time for every wrong signature, which does not help an attacker to guess it.
	if client.VerifyWebhook(os.Getenv("WEBHOOK_SECRET"), r.Header, body) != nil {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	var n notification
	if err := json.Unmarshal(body, &n); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	for _, entry := range n.Entry {
		for _, change := range entry.Changes {
			for _, status := range change.Value.Statuses {
				isNew, err := first(status.ID + " " + status.Status)
				if err != nil {
					log.Print(err)
					w.WriteHeader(http.StatusInternalServerError)
					return
				}
				if isNew {
					fmt.Printf("webhook: %s %s\n", status.Sluice.Ref, status.Status)
				}
			}
		}
	}
	// Answer 2xx only when the statuses are stored: until then Sluice sends them again. Answer within 10 s, and do slow
	// work afterwards.
	w.WriteHeader(http.StatusOK)
}
