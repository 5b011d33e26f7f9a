package client_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	"sluice/client"
)

// myNumber is Meta's id of the phone number that sends.
const myNumber = "106540352242922"

// sluiceURL returns the base URL of a producer. Each example has an empty Sluice of its own.
func sluiceURL() string { return "http://" + build(&examples).addr }

// An order ships: send a message, wait for the end of the message, and react if it did not reach the customer.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := client.New(sluiceURL(), apiKey)

	accepted, err := c.Send(ctx, client.Message{
		From:    myNumber,
		Key:     "order-1001-shipped", // a repeat of this program sends nothing twice
		Ref:     "order-1001",
		Content: client.Text("+15551234567", "Your order has shipped."),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("accepted, now", accepted.State)

	// A real consumer does not leave this loop.
	for e, err := range c.Events(ctx, client.EventOptions{CursorName: "shop", From: "oldest", PhoneNumberIDs: []string{myNumber}, Types: []client.EventType{client.EventFinal}}) {
		if err != nil {
			log.Fatal(err)
		}
		if e.Final.Result == client.ResultNotDelivered {
			fmt.Println("send an SMS for", e.Message.Ref)
		} else {
			fmt.Println(e.Message.Ref, e.Final.Result)
		}
		if e.Message.ID == accepted.ID {
			break
		}
	}
	// Output:
	// accepted, now queued
	// order-1001 delivered
}

func ExampleClient_Send() {
	c := client.New(sluiceURL(), apiKey)
	_, err := c.Send(context.Background(), client.Message{From: myNumber, Key: "order-1002-shipped", Content: client.Text("+15551234567", "")})

	var refused *client.Problem
	var unsure *client.UnsureError
	switch {
	case errors.As(err, &unsure):
		// Store the message, and send it again later with the same key.
	case errors.As(err, &refused):
		for _, m := range refused.Errors {
			fmt.Println(m.Path, m.Code)
		}
	case err != nil:
		// It was certainly not accepted, for example because there was no connection.
	}
	// Output:
	// message.text.body text_empty
}

// SendAndWait gives Meta's id of the message.
func ExampleClient_SendAndWait() {
	c := client.New(sluiceURL(), apiKey)
	accepted, err := c.SendAndWait(context.Background(), client.Message{
		From:    myNumber,
		Class:   client.ClassAuthentication, // before all other messages
		Content: client.Template("+15551234567", "login_code", "en_US", "493817"),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(strings.HasPrefix(accepted.WAMID, "wamid."))
	// Output:
	// true
}

// A batch is one request for any number of messages.
func ExampleClient_SendBatch() {
	c := client.New(sluiceURL(), apiKey)
	messages := []client.Message{
		{From: myNumber, Key: "spring-1", Class: client.ClassMarketing, Tags: []string{"spring"}, Content: client.Template("+15551230001", "spring_sale", "en_US")},
		{From: myNumber, Key: "spring-2", Class: client.ClassMarketing, Tags: []string{"spring"}, Content: client.Template("not a number", "spring_sale", "en_US")},
		{From: myNumber, Key: "spring-3", Class: client.ClassMarketing, Tags: []string{"spring"}, Content: client.Template("+15551230003", "spring_sale", "en_US")},
	}
	for r, err := range c.SendBatch(context.Background(), slices.Values(messages)) {
		if err != nil {
			log.Fatal(err)
		}
		if r.Problem != nil {
			fmt.Println(messages[r.Line-1].Key, r.Problem.Code)
			continue
		}
		fmt.Println(messages[r.Line-1].Key, "accepted")
	}
	// Output:
	// spring-1 accepted
	// spring-2 recipient_invalid
	// spring-3 accepted
}

// The second message is sent when the first one has reached the recipient's phone.
func ExampleAfter() {
	ctx := context.Background()
	c := client.New(sluiceURL(), apiKey)
	for _, m := range []client.Message{
		{From: myNumber, Key: "order-1003-invoice", SendAt: time.Now().Add(time.Hour), Content: client.Text("+15551234567", "Your invoice.")},
		{
			From: myNumber, Key: "order-1003-survey", Content: client.Text("+15551234567", "How did we do?"),
			After: &client.After{Key: "order-1003-invoice", State: client.StateDelivered, Within: "48h"},
		},
	} {
		accepted, err := c.Send(ctx, m)
		if err != nil {
			log.Fatal(err)
		}
		why, err := c.Explain(ctx, accepted.ID)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(m.Key, "waits:", why.Rule)
	}
	// Output:
	// order-1003-invoice waits: scheduled
	// order-1003-survey waits: after
}

// List reads all pages.
func ExampleClient_List() {
	ctx := context.Background()
	c := client.New(sluiceURL(), apiKey)
	tomorrow := client.Message{From: myNumber, Ref: "order-1004", SendAt: time.Now().Add(24 * time.Hour), Content: client.Text("+15551234567", "Are you satisfied?")}
	if _, err := c.Send(ctx, tomorrow); err != nil {
		log.Fatal(err)
	}
	for r, err := range c.List(ctx, client.ListOptions{PhoneNumberID: myNumber, States: []client.State{client.StateQueued}}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(r.Ref, r.State, r.To)
	}
	// Output:
	// order-1004 queued +15***67
}

// A handler for a relay target with the format sluice.
func ExampleVerifyWebhook() {
	const secret = "the secret of the relay target"
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
		if err != nil {
			http.Error(w, "cannot read the body", http.StatusBadRequest)
			return
		}
		if err := client.VerifyWebhook(secret, r.Header, body); err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		events, err := client.ParseWebhook(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, e := range events { // store them before you answer: without a 2xx they come again
			fmt.Println(e.Type, e.Message.Ref, e.Final.Result)
		}
	})

	// The relay sends such a request.
	body := `{"events":[{"v":2,"type":"final","at":1763820427003,"final":{"result":"delivered","certain":true,"state":"delivered","text":"Meta delivered the message."},"message":{"id":"1-a","phone_number_id":"1","class":"utility","type":"text","ref":"order-1001"}}]}`
	mac := hmac.New(sha256.New, []byte(secret))
	io.WriteString(mac, body)
	r := httptest.NewRequest("POST", "/events", strings.NewReader(body))
	r.Header.Set(client.SignatureHeader, "sha256="+hex.EncodeToString(mac.Sum(nil)))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output:
	// final order-1001 delivered
	// 200
}
