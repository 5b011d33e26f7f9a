package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const testKey = "sk-0123456789abcdef"

// script is a transport that gives one answer after the other, the last one again and again, and keeps the requests.
type script struct {
	answers []func(*http.Request) (*http.Response, error)
	at      []time.Time
	bodies  []string
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	body := ""
	if r.Body != nil {
		text, _ := io.ReadAll(r.Body)
		body = string(text)
	}
	s.at, s.bodies = append(s.at, time.Now()), append(s.bodies, body)
	return s.answers[min(len(s.at), len(s.answers))-1](r)
}

// status answers with a status, a code and headers.
func status(status int, code string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(*http.Request) (*http.Response, error) {
		h := http.Header{}
		for i := 0; i+1 < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		body := fmt.Sprintf(`{"status":%d,"code":%q,"detail":"No."}`, status, code)
		if status < 300 {
			body = `{"id":"1-a","state":"queued"}`
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

func lost(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

func refusedConnection(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

func silent(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func (s *script) client(options ...Option) *Client {
	return New("http://sluice.test", testKey, append([]Option{WithHTTPClient(&http.Client{Transport: s})}, options...)...)
}

type answers = []func(*http.Request) (*http.Response, error)

// TestRetry: which failures are repeated, for how long, and what the error says of the message.
func TestRetry(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answers answers
		tries   int // 0: as many as fit into 30 s
		code    string
		unsure  bool
	}{
		"accepted":                        {answers{status(202, "")}, 1, "", false},
		"the answer is lost":              {answers{lost, status(200, "")}, 2, "", false},
		"no answer comes":                 {answers{silent, status(200, "")}, 2, "", false},
		"storage is not available":        {answers{status(503, "store_unavailable"), status(202, "")}, 2, "", false},
		"too many requests":               {answers{status(429, "deadline_unreachable", "Retry-After", "3"), status(202, "")}, 2, "", false},
		"the body did not arrive in time": {answers{status(408, "timeout"), status(202, "")}, 2, "", false},
		"refused":                         {answers{status(422, "text_too_long")}, 1, "text_too_long", false},
		"no such number":                  {answers{status(404, "phone_number_id_not_found")}, 1, "phone_number_id_not_found", false},
		"lost, then the key is revoked":   {answers{lost, status(401, "api_key_revoked")}, 2, "api_key_revoked", true},
		"a wait that is too long":         {answers{status(429, "deadline_unreachable", "Retry-After", "3600")}, 1, "deadline_unreachable", false},
		"always overloaded":               {answers{status(503, "overloaded")}, 0, "overloaded", false},
		"always unavailable":              {answers{status(503, "store_unavailable")}, 0, "store_unavailable", true},
		"a proxy without Sluice":          {answers{status(502, "")}, 0, "", true},
		"a proxy that redirects":          {answers{status(302, "", "Location", "/login")}, 1, "", false},
		"no server":                       {answers{refusedConnection}, 0, "", false},
		"no server after a lost answer":   {answers{lost, refusedConnection}, 0, "", true},
		"an answer that is not one of Sluice": {answers{func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader("<html>"))}, nil
		}}, 0, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &script{answers: tt.answers}
				began := time.Now()
				accepted, err := s.client().Send(t.Context(), Message{From: "1", Content: Text("+15551234567", "secret text")})
				if tt.tries != 0 && len(s.at) != tt.tries || tt.tries == 0 && len(s.at) < 5 {
					t.Errorf("%d tries, want %d", len(s.at), tt.tries)
				}
				if d := time.Since(began); d > 30*time.Second {
					t.Errorf("it took %s", d)
				}
				var first Message
				if json.Unmarshal([]byte(s.bodies[0]), &first); first.Key == "" {
					t.Errorf("the message has no key: %s", s.bodies[0])
				}
				for _, b := range s.bodies[1:] {
					if b != s.bodies[0] {
						t.Errorf("a later try sends %s, the first one sent %s", b, s.bodies[0])
					}
				}
				if want := tt.code == "" && !tt.unsure && tt.tries != 0 && name != "a proxy that redirects"; want != (err == nil) || want != (accepted.ID == "1-a") {
					t.Fatalf("%+v, %v", accepted, err)
				}
				if err == nil {
					return
				}
				problem, _ := errors.AsType[*Problem](err)
				if tt.code != "" && (problem == nil || problem.Code != tt.code) {
					t.Errorf("%v, want the code %s", err, tt.code)
				}
				unsure, is := errors.AsType[*UnsureError](err)
				if is != tt.unsure || is && (unsure.Messages[0].Key != first.Key || !strings.Contains(err.Error(), first.Key)) {
					t.Errorf("%#v, want unsure: %v", err, tt.unsure)
				}
				for _, private := range []string{testKey, "secret text", "15551234567"} {
					if strings.Contains(fmt.Sprintf("%v %+v", err, err), private) {
						t.Errorf("the error contains %q: %v", private, err)
					}
				}
			})
		})
	}
}

// TestPauses: the pauses double up to 5 s, vary at random, and are at least what Sluice asks for.
func TestPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: answers{lost}}
		s.client(WithRetryFor(time.Minute)).Get(t.Context(), "1-a")
		var pauses []time.Duration
		for i := 1; i < len(s.at); i++ {
			pause := s.at[i].Sub(s.at[i-1])
			if most := min(200*time.Millisecond<<(i-1), 5*time.Second); pause < most/2 || pause > most {
				t.Errorf("pause %d is %s, want %s to %s", i, pause, most/2, most)
			}
			pauses = append(pauses, pause)
		}
		if slices.Sort(pauses); len(pauses) < 13 || len(slices.Compact(pauses)) < 10 {
			t.Errorf("the pauses are %v", pauses)
		}
		until := time.Now().Add(20 * time.Second).Truncate(time.Second)
		s = &script{answers: answers{status(503, "overloaded", "Retry-After", "7"), status(503, "overloaded", "Retry-After", until.UTC().Format(http.TimeFormat)), status(202, "")}}
		if _, err := s.client().Send(t.Context(), Message{}); err != nil || s.at[1].Sub(s.at[0]) != 7*time.Second || !s.at[2].Equal(until) {
			t.Errorf("%v, tries at %v", err, s.at)
		}
	})
}

// TestContextEndsRetries: the end of the context ends the pauses, and the error says that the message may have been accepted.
func TestContextEndsRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		_, err := (&script{answers: answers{lost}}).client().Send(ctx, Message{Key: "order-1"})
		if unsure, ok := errors.AsType[*UnsureError](err); !ok || unsure.Messages[0].Key != "order-1" || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 3*time.Second {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		_, err = (&script{answers: answers{silent}}).client().Send(ctx, Message{Key: "order-1"})
		if _, ok := errors.AsType[*UnsureError](err); !ok || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
	})
}

// TestWithoutRetries: each call is made once, without a time limit and without a key of the client.
func TestWithoutRetries(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		for name, answer := range map[string]func(*http.Request) (*http.Response, error){"lost": lost, "unavailable": status(503, "store_unavailable"), "silent": silent} {
			s := &script{answers: answers{answer}}
			_, err := s.client(WithRetryFor(0)).Send(ctx, Message{From: "1"})
			unsure, ok := errors.AsType[*UnsureError](err)
			if len(s.at) != 1 || s.bodies[0] != `{"from":"1","message":null}` || !ok || unsure.Messages[0].Key != "" || !strings.Contains(err.Error(), "has no key") {
				t.Errorf("%s: %d tries, %s, %v", name, len(s.at), s.bodies, err)
			}
		}
		if d := ctx.Err(); d == nil {
			t.Error("a call that is made once has a time limit of its own")
		}
	})
}

// TestCall: a GET is repeated, other methods are not, because the client does not know whether that is safe.
func TestCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &script{answers: answers{lost, status(200, "")}}
		var answer json.RawMessage
		if err := s.client().Call(t.Context(), "GET", "/v25.0/1/phone_numbers", nil, &answer); err != nil || string(answer) != `{"id":"1-a","state":"queued"}` {
			t.Errorf("%s, %v", answer, err)
		}
		s = &script{answers: answers{lost, status(200, "")}}
		if err := s.client().Call(t.Context(), "POST", "/v25.0/1/block_users?secret=1", map[string]int{"a": 1}, nil); err == nil || len(s.at) != 1 || strings.Contains(err.Error(), "secret") || s.bodies[0] != `{"a":1}` {
			t.Errorf("%v after %d tries of %q", err, len(s.at), s.bodies)
		}
	})
}

// TestArguments: what New cannot use is reported by every call, and no form of printing a Client shows the key.
func TestArguments(t *testing.T) {
	t.Parallel()
	for _, c := range []*Client{
		New("sluice.example.com", testKey), New("https://user:"+testKey+"@sluice.example.com", testKey), New("https://sluice.example.com/?a=b", testKey),
		New("", testKey), New("http://127.0.0.1:1", ""), New("http://127.0.0.1:1", testKey+"\n"), New("http://127.0.0.1:1", "Bearer "+testKey),
	} {
		_, err := c.Send(t.Context(), Message{})
		if err == nil || !strings.HasPrefix(err.Error(), "client: ") || strings.Contains(err.Error(), testKey) {
			t.Errorf("%v", err)
		}
		for _, err := range c.Events(t.Context(), EventOptions{}) {
			if err == nil {
				t.Error("events without an API")
			}
		}
	}
	c := New("http://127.0.0.1:1/", testKey)
	for _, text := range []string{fmt.Sprint(c), fmt.Sprintf("%+v %#v", *c, *c), fmt.Sprintf("%+v", struct{ c Client }{*c})} {
		if strings.Contains(text, testKey) {
			t.Errorf("it prints the API key: %s", text)
		}
	}
	if c.String() != "http://127.0.0.1:1" {
		t.Errorf("base URL %s", c)
	}
}

// TestContent: content can be a value or JSON.
func TestContent(t *testing.T) {
	t.Parallel()
	for _, content := range []any{
		map[string]string{"to": "+1"},
		[]byte(`{"to":"+1"}`), json.RawMessage(`{"to":"+1"}`),
		struct {
			To string `json:"to"`
		}{"+1"},
	} {
		text, err := json.Marshal(Message{From: "1", Content: content})
		if err != nil || string(text) != `{"from":"1","message":{"to":"+1"}}` {
			t.Errorf("%T: %s, %v", content, text, err)
		}
	}
	_, err := New("http://127.0.0.1:1", testKey).Send(t.Context(), Message{Content: make(chan int)})
	if _, unsupported := errors.AsType[*json.UnsupportedTypeError](err); !unsupported {
		t.Errorf("%v", err)
	}
}
