package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Verdict is the API's answer to one line of a batch.
type Verdict struct {
	Line   int `json:"line"`
	Status int `json:"status"`
	Accepted
	Problem *Problem `json:"problem"` // nil: accepted
}

// Batch sends orders, one JSON object per line, and calls f with each verdict as it comes, in the order of the
// lines, while it still reads. It ends with the last verdict, or with the error of f. After any other error than a
// *Problem the lines without a verdict may have been accepted.
func (c *Client) Batch(ctx context.Context, lines io.Reader, f func(Verdict) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of what is still being sent
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Base+"/v1/messages/batch", io.NopCloser(lines))
	if err != nil {
		return fmt.Errorf("call the API: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.Key)
	req.Header.Set("Content-Type", "application/x-ndjson")
	resp, err := c.http().Do(req)
	if err != nil {
		return fmt.Errorf("call the API: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return fmt.Errorf("read the API's answer: %w", err)
		}
		return problem(resp.StatusCode, answer)
	}
	for verdicts := json.NewDecoder(resp.Body); ; {
		var v Verdict
		switch err := verdicts.Decode(&v); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the API's answer: %w", err)
		}
		if err := f(v); err != nil {
			return err
		}
	}
}
