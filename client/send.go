package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// submitWait is how long Sluice waits for Meta's answer.
const submitWait = 10 * time.Second

// Send sends a message. It returns when Sluice has stored the message durably, before Meta has it. The error is a *Problem if
// Sluice refused the message, an *UnsureError if Sluice may have accepted it, and another error if Sluice certainly did
// not.
func (c *Client) Send(ctx context.Context, m Message) (Accepted, error) {
	return c.send(ctx, m, "/v1/messages", 0)
}

// SendAndWait sends a message, and waits up to 10 s until Meta has accepted or refused it. State is then the state at
// the end of the wait, with WAMID if Meta accepted the message. The errors are those of Send.
func (c *Client) SendAndWait(ctx context.Context, m Message) (Accepted, error) {
	return c.send(ctx, m, "/v1/messages?wait=submitted", submitWait)
}

func (c *Client) send(ctx context.Context, m Message, path string, wait time.Duration) (Accepted, error) {
	c.giveKey(&m)
	body, err := json.Marshal(m)
	if err != nil {
		return Accepted{}, fmt.Errorf("write the message: %w", err)
	}
	var accepted Accepted
	perhaps := false // Sluice may have accepted it in one of the tries
	err = c.retry(ctx, wait, func(ctx context.Context) error {
		err := c.try(ctx, request{method: http.MethodPost, path: path, body: body}, &accepted)
		perhaps = perhaps || unsure(err)
		return err
	})
	if err != nil && perhaps {
		err = &UnsureError{Messages: []Message{m}, Err: err}
	}
	return accepted, err
}

// Check checks a message by the rules of Send, without sending or storing it. A message that Send would refuse is a *Problem.
func (c *Client) Check(ctx context.Context, m Message) (Checked, error) {
	body, err := json.Marshal(m)
	if err != nil {
		return Checked{}, fmt.Errorf("write the message: %w", err)
	}
	var checked Checked
	err = c.do(ctx, request{method: http.MethodPost, path: "/v1/messages/check", body: body}, &checked)
	return checked, err
}

// giveKey gives a message without a key one, so that it can be repeated.
func (c *Client) giveKey(m *Message) {
	if m.Key == "" && c.retryFor > 0 {
		m.Key = rand.Text()
	}
}

// MediaFile is what a server says of the file behind a link.
type MediaFile struct {
	ContentType string `json:"content_type,omitempty"` // without parameters; empty: the server sends none that can be read
	Bytes       int64  `json:"bytes"`                  // the size; -1: the server does not say it, and the file is larger than 17 MB
}

// CheckMedia requests the file behind a link as Meta will, and compares it with Meta's limits for a kind: image, video, audio, document or sticker.
// It blocks for up to 15 s. A *Problem says what is wrong with the file.
func (c *Client) CheckMedia(ctx context.Context, kind, link string) (MediaFile, error) {
	body, err := json.Marshal(map[string]string{"type": kind, "link": link})
	if err != nil {
		return MediaFile{}, fmt.Errorf("write the request: %w", err)
	}
	var file MediaFile
	err = c.do(ctx, request{method: http.MethodPost, path: "/v1/media/check", body: body}, &file)
	return file, err
}
