package message_test

import (
	"encoding/json"
	"fmt"
	"time"

	"sluice/internal/content"
	"sluice/internal/message"
)

// The id of a message with a key follows from the sender and the key, so a repeated request finds the same message.
func ExampleNewID() {
	first := message.NewID("106540352242922", "order-1001-shipped")
	again := message.NewID("106540352242922", "order-1001-shipped")
	other := message.NewID("106540352242922", "order-1002-shipped")
	fmt.Println(first)
	fmt.Println(first == again, first == other)
	sender, ok := message.Number(first)
	fmt.Println(sender, ok)
	// Output:
	// 106540352242922-5xyt5mwufw57nin5w3p6dtypcw
	// true false
	// 106540352242922 true
}

// A state with a higher rank wins: a delivered message did not fail.
func ExampleState_Rank() {
	for _, s := range []message.State{message.Queued, message.Submitted, message.Sent, message.Failed, message.Delivered, message.Read} {
		fmt.Println(s, s.Rank(""), s.Final())
	}
	// Output:
	// queued 0 false
	// submitted 40 false
	// sent 50 false
	// failed 55 true
	// delivered 60 true
	// read 70 true
}

// Logs show a masked recipient.
func ExampleMask() {
	fmt.Println(message.Mask("+15551234567"))
	// Output: +15***67
}

// Package content validates Meta's message object. A message adds what Sluice needs to send it. Its events show no
// text, and a masked recipient.
func ExampleMessage() {
	object := json.RawMessage(`{"to":"+15551234567","type":"template","template":{"name":"order_shipped","language":{"code":"en_US"}}}`)
	c, problems := content.Parse(object)
	m := message.Message{
		ID: message.NewID("106540352242922", "order-1001-shipped"), From: "106540352242922", Class: message.DefaultClass(c), Ref: "order-1001",
		ExpiresAt: time.Now().Add(message.DefaultPolicy(message.DefaultClass(c)).Deadline), Payload: object, Content: c,
	}
	shown, err := json.Marshal(m.Context())
	fmt.Println(len(problems), m.Class)
	fmt.Println(string(shown), err)
	// Output:
	// 0 utility
	// {"id":"106540352242922-5xyt5mwufw57nin5w3p6dtypcw","phone_number_id":"106540352242922","class":"utility","type":"template","to":"+15***67","template":"order_shipped/en_US","ref":"order-1001"} <nil>
}
