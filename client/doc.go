// Package client calls the API of Sluice, which sends WhatsApp messages through Meta's Cloud API.
//
// Send a message. The answer comes when the message is stored durably. From is Meta's id of your phone number:
//
//	c := client.New("http://127.0.0.1:8080", os.Getenv("SLUICE_API_KEY"))
//	accepted, err := c.Send(ctx, client.Message{
//		From:    "106540352242922",
//		Key:     "order-1001-shipped",
//		Ref:     "order-1001",
//		Content: client.Text("+15551234567", "Your order has shipped."),
//	})
//
// Read how messages ended, and react. Sluice keeps the cursor of the consumer "crm", so after a restart the loop continues
// where it stopped:
//
//	for e, err := range c.Events(ctx, client.EventOptions{CursorName: "crm", Types: []client.EventType{client.EventFinal}}) {
//		if err != nil {
//			return err
//		}
//		if e.Final.Result == client.ResultNotDelivered { // certain, so the customer cannot get the news twice
//			sendSMS(e.Message.Ref)
//		}
//	}
//
// # Retries
//
// A call that fails for a temporary reason is repeated: after 408, 429 and 5xx, and when there was no answer. The pauses
// grow and vary at random, and are at least as long as Retry-After. The client gives up after 30 s or when ctx ends: see
// [WithRetryFor].
// It does not repeat a call that Sluice refused.
//
// A repeated message is sent once, because every try has the same [Message.Key]. If you give no key, the client makes one. Only
// a key of your own also covers a repeat by your program, for example after a crash.
//
// # Errors
//
// A refusal is a [*Problem]: Code says why, and Errors names the members of the request and the corrections. An
// [*UnsureError] means that Sluice may or may not have accepted the message. Send it again with the key in the error.
//
// The texts of errors contain no API key, no message content and no phone number.
package client
