package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// batchAPI is a transport that serves batches: serve is called with the number of the request, from 1, and its lines.
type batchAPI struct {
	serve func(call int, lines *bufio.Scanner, answer func(n int, code string)) error

	mu       sync.Mutex
	calls    int
	accepted map[string]int // how often each key was answered as a new message
	wg       sync.WaitGroup
}

func (a *batchAPI) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	a.calls++
	call := a.calls
	a.mu.Unlock()
	body, w := io.Pipe()
	lines := bufio.NewScanner(r.Body)
	a.wg.Go(func() {
		w.CloseWithError(a.serve(call, lines, func(n int, code string) {
			if code == "" {
				a.accept(w, n, lines.Bytes())
				return
			}
			status := map[string]int{"text_too_long": 422, "timeout": 408}[code]
			if status == 0 {
				status = 503
			}
			fmt.Fprintf(w, `{"line":%d,"status":%d,"problem":{"status":%d,"code":%q,"detail":"No."}}`+"\n", n, status, status, code)
		}))
	})
	stop := context.AfterFunc(r.Context(), func() { w.CloseWithError(r.Context().Err()) })
	a.wg.Go(func() { <-r.Context().Done(); stop() })
	return &http.Response{StatusCode: 200, Body: body}, nil
}

func (a *batchAPI) accept(w io.Writer, n int, text []byte) {
	var m Message
	json.Unmarshal(text, &m)
	a.mu.Lock()
	duplicate := m.Key != "" && a.accepted[m.Key] > 0
	a.accepted[m.Key]++
	a.mu.Unlock()
	fmt.Fprintf(w, `{"line":%d,"status":202,"id":"1-%s","state":"queued","duplicate":%v}`+"\n", n, m.Ref, duplicate)
}

// all answers every line with one code.
func all(code string) func(int, *bufio.Scanner, func(int, string)) error {
	return func(_ int, lines *bufio.Scanner, answer func(int, string)) error {
		for n := 1; lines.Scan(); n++ {
			answer(n, code)
		}
		return nil
	}
}

// numbered returns n messages with the references "1", "2" and so on.
func numbered(n int) iter.Seq[Message] {
	return func(yield func(Message) bool) {
		for i := range n {
			if !yield(Message{From: "1", Ref: fmt.Sprint(i + 1), Content: Text("+1", "x")}) {
				return
			}
		}
	}
}

// send sends messages through an API, and returns the results as texts.
func (a *batchAPI) send(t *testing.T, messages iter.Seq[Message], options ...Option) (results []string, err error) {
	t.Helper()
	a.accepted = map[string]int{}
	c := New("http://sluice.test", testKey, append(options, WithHTTPClient(&http.Client{Transport: a}))...)
	for r, failed := range c.SendBatch(t.Context(), messages) {
		switch {
		case failed != nil:
			err = failed
		case r.Problem != nil:
			results = append(results, fmt.Sprint(r.Line, " ", r.Problem.Code))
		default:
			results = append(results, fmt.Sprint(r.Line, " ", r.ID))
		}
	}
	a.wg.Wait()
	return results, err
}

// TestBatchRepeats: whatever happens to a request, each message gets its result once, under its own number and with one key.
func TestBatchRepeats(t *testing.T) {
	t.Parallel()
	const n = 40
	first := func(what func(n int, answer func(int, string)) error) func(int, *bufio.Scanner, func(int, string)) error {
		return func(call int, lines *bufio.Scanner, answer func(int, string)) error {
			for i := 1; lines.Scan(); i++ {
				if call < 3 && i > 5 {
					if err := what(i, answer); err != nil {
						return err
					}
					continue
				}
				answer(i, "")
			}
			return nil
		}
	}
	for name, serve := range map[string]func(int, *bufio.Scanner, func(int, string)) error{
		"nothing":       all(""),
		"overloaded":    first(func(n int, answer func(int, string)) error { answer(n, "overloaded"); return nil }),
		"no storage":    first(func(n int, answer func(int, string)) error { answer(n, "store_unavailable"); return nil }),
		"stopping":      first(func(n int, answer func(int, string)) error { answer(n, "stopping"); return io.EOF }),
		"10 minutes":    first(func(n int, answer func(int, string)) error { answer(n, "timeout"); return io.EOF }),
		"a crash":       first(func(int, func(int, string)) error { return io.ErrUnexpectedEOF }),
		"an early end":  first(func(int, func(int, string)) error { return io.EOF }),
		"answer is cut": first(func(n int, answer func(int, string)) error { answer(n, ""); return io.ErrUnexpectedEOF }),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := &batchAPI{serve: serve}
				results, err := a.send(t, numbered(n))
				if err != nil || len(results) != n || len(a.accepted) != n {
					t.Fatalf("%d results, %d keys, %v", len(results), len(a.accepted), err)
				}
				seen := map[string]bool{}
				for _, r := range results {
					line, id, _ := strings.Cut(r, " ")
					if id != "1-"+line || seen[line] {
						t.Errorf("result %q, seen before: %v", r, seen[line])
					}
					seen[line] = true
				}
			})
		})
	}
}

// TestBatchResults: a result does not wait for the end of the messages, and a refusal does not affect the others.
func TestBatchResults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &batchAPI{accepted: map[string]int{}, serve: func(_ int, lines *bufio.Scanner, answer func(int, string)) error {
			for n := 1; lines.Scan(); n++ {
				answer(n, map[int]string{2: "text_too_long"}[n])
			}
			return nil
		}}
		c := New("http://sluice.test", testKey, WithHTTPClient(&http.Client{Transport: a}))
		answered := make(chan struct{})
		var got []string
		for r, err := range c.SendBatch(t.Context(), func(yield func(Message) bool) {
			for m := range numbered(3) {
				if !yield(m) {
					return
				}
				<-answered // the next message comes after the result of this one
			}
		}) {
			got = append(got, fmt.Sprint(r.Line, r.Problem != nil, err))
			answered <- struct{}{}
		}
		if want := "[1false<nil> 2true<nil> 3false<nil>]"; strings.ReplaceAll(fmt.Sprint(got), " ", "") != strings.ReplaceAll(want, " ", "") {
			t.Errorf("%v, want %s", got, want)
		}
		a.wg.Wait()
	})
}

// TestIdleBatch: the time in which no messages come does not count as time without Sluice.
func TestIdleBatch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &batchAPI{serve: func(call int, lines *bufio.Scanner, answer func(int, string)) error {
			lines.Scan()
			if call == 2 {
				return io.ErrUnexpectedEOF
			}
			answer(1, "")
			time.Sleep(30 * time.Second)
			answer(2, "timeout")
			return io.EOF
		}}
		results, err := a.send(t, func(yield func(Message) bool) {
			for m := range numbered(2) {
				if !yield(m) {
					return
				}
				time.Sleep(time.Hour)
			}
		})
		if len(results) != 2 || err != nil || a.calls != 3 {
			t.Errorf("%v after %d requests, %v", results, a.calls, err)
		}
	})
}

// TestBatchGoesOn: a batch does not give up as long as results come, however often its requests fail.
func TestBatchGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := &batchAPI{serve: func(_ int, lines *bufio.Scanner, answer func(int, string)) error {
			lines.Scan()
			answer(1, "")
			lines.Scan()
			return io.ErrUnexpectedEOF
		}}
		began := time.Now()
		if results, err := a.send(t, numbered(400)); err != nil || len(results) != 400 || time.Since(began) < 35*time.Second {
			t.Errorf("%d results after %s, %v", len(results), time.Since(began), err)
		}
	})
}

// TestBatchGivesUp: a batch that cannot go on ends with the messages that have no result.
func TestBatchGivesUp(t *testing.T) {
	t.Parallel()
	bad := func(yield func(Message) bool) {
		for m := range numbered(3) {
			if m.Ref == "2" {
				m.Content = make(chan int)
			}
			if !yield(m) {
				return
			}
		}
	}
	crash := func(call int, lines *bufio.Scanner, answer func(int, string)) error {
		for n := 1; call == 1 && n <= 2 && lines.Scan(); n++ {
			answer(n, "")
		}
		lines.Scan()
		return io.ErrUnexpectedEOF
	}
	for name, tt := range map[string]struct {
		serve    func(int, *bufio.Scanner, func(int, string)) error
		messages iter.Seq[Message]
		options  []Option
		results  int
		unsure   string // the references of the messages without a result
		text     string // of the error; empty: there is none
	}{
		"crashes":                  {crash, numbered(4), nil, 2, "3", "may or may not have been accepted"},
		"crashes, without retries": {crash, numbered(4), []Option{WithRetryFor(0)}, 2, "3", "has no key"},
		"ends early": {func(_ int, lines *bufio.Scanner, _ func(int, string)) error {
			lines.Scan()
			return io.EOF
		}, numbered(1), nil, 0, "1", "unexpected EOF"},
		"overloaded":                 {all("overloaded"), numbered(1), nil, 0, "", "503 overloaded"},
		"no storage":                 {all("store_unavailable"), numbered(1), nil, 0, "1", "503 store_unavailable"},
		"overloaded without retries": {all("overloaded"), numbered(3), []Option{WithRetryFor(0)}, 3, "", ""},
		"a message that is no JSON":  {all(""), bad, nil, 1, "", "unsupported type: chan int"},
		"no message":                 {all(""), numbered(0), nil, 0, "", ""},
		"another server": {func(_ int, lines *bufio.Scanner, answer func(int, string)) error {
			lines.Scan()
			answer(7, "")
			return nil
		}, numbered(1), nil, 0, "1", "the result of line 7 came after 0 of 1 lines"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				results, err := (&batchAPI{serve: tt.serve}).send(t, tt.messages, tt.options...)
				if len(results) != tt.results || (err == nil) != (tt.text == "") || err != nil && !strings.Contains(err.Error(), tt.text) {
					t.Fatalf("results %v, %v", results, err)
				}
				refs := ""
				if unsure, ok := errors.AsType[*UnsureError](err); ok {
					for _, m := range unsure.Messages {
						refs += m.Ref
						if m.Key == "" && tt.options == nil {
							t.Errorf("message %s has no key to repeat it with", m.Ref)
						}
					}
				}
				if !strings.HasPrefix(refs, tt.unsure) || (refs == "") != (tt.unsure == "") {
					t.Errorf("unsure about %q, want %q", refs, tt.unsure)
				}
				if d := time.Since(began); d > 30*time.Second {
					t.Errorf("it took %s", d)
				}
			})
		})
	}
}

// TestBatchRefused: a batch that Sluice refuses as a whole ends at once.
func TestBatchRefused(t *testing.T) {
	t.Parallel()
	s := &script{answers: answers{status(403, "scope_missing")}}
	for _, err := range s.client().SendBatch(t.Context(), numbered(3)) {
		if p, ok := err.(*Problem); !ok || p.Code != "scope_missing" {
			t.Errorf("%v", err)
		}
	}
	if len(s.at) != 1 {
		t.Errorf("%d tries", len(s.at))
	}
}

// TestBatchIsLeft: a loop that is left ends the request and the reading of messages.
func TestBatchIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { // it fails if a goroutine is left
		a := &batchAPI{accepted: map[string]int{}, serve: all("")}
		c := New("http://sluice.test", testKey, WithHTTPClient(&http.Client{Transport: a}))
		for range c.SendBatch(t.Context(), numbered(1000)) {
			break
		}
		a.wg.Wait()
	})
}

// TestBatchIsLeftOverHTTP2: with HTTP/2 too, a loop that is left ends although the program has no further message.
func TestBatchIsLeftOverHTTP2(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		bufio.NewScanner(r.Body).Scan()
		fmt.Fprintln(w, `{"line":1,"status":202,"id":"a","proto":"`+r.Proto+`"}`)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	left, idle := make(chan int, 1), make(chan struct{})
	defer close(idle)
	go func() {
		n := 0
		for range New(server.URL, "key", WithHTTPClient(server.Client())).SendBatch(t.Context(), func(yield func(Message) bool) {
			if yield(Message{From: "1", Content: Text("+15551234567", "Hi")}) {
				<-idle
			}
		}) {
			n++
			break
		}
		left <- n
	}()
	select {
	case n := <-left:
		if n != 1 {
			t.Errorf("%d results", n)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the loop does not end")
	}
}
