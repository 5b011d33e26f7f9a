package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"sluice/internal/httpapi"
)

type eventsCmd struct {
	API           string   `default:"http://127.0.0.1:8080" env:"SLUICE_API" help:"Base URL of the API."`
	APIKey        string   `env:"SLUICE_API_KEY" required:"" help:"API key with the scope events:read. Set the environment variable rather than the flag."`
	From          string   `default:"now" help:"Where to start: now, oldest, or a time like 2026-01-31T12:00:00Z."`
	Type          []string `help:"Only these types: message, final, status, inbound, update, gap."`
	PhoneNumberID []string `name:"phone-number-id" help:"Only events of these numbers." placeholder:"ID"`
	WABAID        []string `name:"waba-id" help:"Only events from Meta of these WhatsApp Business Accounts." placeholder:"ID"`
	Tag           []string `help:"Only events about messages with one of these tags."`
}

// Run prints events as they are written, until ctx ends.
func (e eventsCmd) Run(ctx context.Context) error {
	q := url.Values{"from": {e.From}, "type": e.Type, "phone_number_id": e.PhoneNumberID, "waba_id": e.WABAID, "tag": e.Tag}
	s := eventStream{url: strings.TrimSuffix(e.API, "/") + "/v1/events?" + q.Encode(), key: e.APIKey, out: os.Stdout, log: os.Stderr, pause: 2 * time.Second}
	return s.follow(ctx)
}

// eventStream prints the events of a stream of GET /v1/events.
type eventStream struct {
	url, key string
	out, log io.Writer
	pause    time.Duration // before it connects again
	last     string        // the last id
}

// follow prints events until ctx ends. When a stream ends, it connects again and goes on after the last id. It returns
// the error of the first connection, and every refusal.
func (s *eventStream) follow(ctx context.Context) error {
	for {
		err := s.read(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if _, refused := errors.AsType[refusedError](err); refused || s.last == "" {
			return err
		}
		fmt.Fprintln(s.log, "the stream ended, connecting again:", err)
		select {
		case <-ctx.Done():
		case <-time.After(s.pause):
		}
	}
}

// refusedError is an answer that connecting again does not change.
type refusedError string

func (e refusedError) Error() string { return string(e) }

// read prints the events of one stream until it ends. It always returns an error.
func (s *eventStream) read(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url, nil)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Accept", "text/event-stream")
	if s.last != "" {
		req.Header.Set("Last-Event-ID", s.last)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		err := problemOf(resp.StatusCode, text)
		if resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests {
			return err
		}
		return refusedError(err.Error())
	}
	return s.print(bufio.NewReader(resp.Body))
}

// print prints the events of a stream.
func (s *eventStream) print(body *bufio.Reader) error {
	var id, name, data string
	for {
		line, err := body.ReadString('\n')
		if err != nil {
			return fmt.Errorf("read events: %w", err)
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			name = value
		case "data":
			data = value
		case "": // a comment, or the end of an event
			switch {
			case value != "":
			case name == "problem":
				return refusedError(problemOf(http.StatusOK, []byte(data)).Error())
			default:
				if data != "" {
					if _, err := fmt.Fprintln(s.out, data); err != nil {
						return refusedError("print event: " + err.Error())
					}
				}
				s.last, id, name, data = cmp.Or(id, s.last), "", "", ""
			}
		}
	}
}

// problemOf returns the error of a problem document.
func problemOf(status int, text []byte) error {
	var p httpapi.Failure
	if json.Unmarshal(text, &p) != nil || p.Code == "" {
		return fmt.Errorf("%d: the answer is not from Sluice. Check that --api is the URL of its API", status)
	}
	fixes := ""
	for _, e := range p.Errors {
		fixes += "\n  " + strings.TrimPrefix(e.Path+": ", ": ") + e.Detail + " " + e.Fix
	}
	return fmt.Errorf("%d %s:%s", p.Status, p.Code, fixes)
}
