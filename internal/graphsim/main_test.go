package graphsim_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"sluice/internal/graphsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	number = "106540352242922"
	secret = "app secret"
)

// bundle is a simulator that is served, and a client of it.
type bundle struct {
	*graphsim.Sim
	t      *testing.T
	server *httptest.Server
	client *http.Client
}

func setup(t *testing.T, o graphsim.Options) *bundle {
	t.Helper()
	sim := graphsim.New(o)
	server := httptest.NewServer(sim.Handler())
	b := &bundle{Sim: sim, t: t, server: server, client: server.Client()}
	t.Cleanup(func() {
		b.client.CloseIdleConnections()
		server.Close()
	})
	return b
}

// run delivers webhooks until the test ends or the returned function is called.
func (b *bundle) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := b.Run(ctx); err != nil {
			b.t.Errorf("Run: %v", err)
		}
	}()
	stop = func() { cancel(); <-done }
	b.t.Cleanup(stop)
	return stop
}

func (b *bundle) drained() {
	b.t.Helper()
	if err := b.Drained(b.t.Context()); err != nil {
		b.t.Fatalf("Drained: %v", err)
	}
}

// answer is the answer to a call.
type answer struct {
	Status   int
	Raw      string
	Success  bool
	ID       string
	Mime     string `json:"mime_type"`
	SHA256   string
	Size     string `json:"file_size"`
	URL      string
	Contacts []struct {
		Input  string
		WaID   string `json:"wa_id"`
		UserID string `json:"user_id"`
	}
	Messages []struct {
		ID     string
		Status string `json:"message_status"`
	}
	Error struct {
		Message string
		Type    string
		Code    int
		Subcode int `json:"error_subcode"`
		Data    struct {
			Product string `json:"messaging_product"`
			Details string
		} `json:"error_data"`
		Trace string `json:"fbtrace_id"`
	}
}

func (b *bundle) call(ctx context.Context, method, path, body string) (answer, error) {
	b.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, b.server.URL+path, bytes.NewBufferString(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer token")
	req.Header.Set("Content-Type", "application/json")
	resp, err := b.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	return read(b.t, resp), nil
}

func read(t *testing.T, resp *http.Response) answer {
	t.Helper()
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) { // one of its ways to answer
		t.Fatal(err)
	}
	a := answer{Status: resp.StatusCode, Raw: string(raw)}
	json.Unmarshal(raw, &a) // a gateway's HTML leaves the rest empty
	return a
}

func (b *bundle) do(method, path, body string) answer {
	b.t.Helper()
	a, err := b.call(b.t.Context(), method, path, body)
	if err != nil {
		b.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// send POSTs a message with these members and messaging_product.
func (b *bundle) send(members string) answer {
	b.t.Helper()
	return b.do("POST", "/v25.0/"+number+"/messages", `{"messaging_product":"whatsapp",`+members+`}`)
}

func text(to, marker string) string {
	return fmt.Sprintf(`"to":%q,"type":"text","text":{"body":"hello"},"biz_opaque_callback_data":%q`, to, marker)
}

// update is one status or inbound message out of a webhook.
type update struct {
	Number      string
	Contact     string // wa_id of the change's only contact
	ContactUser string // its user_id
	FromUser    string `json:"from_user_id"`
	ID          string
	Status      string
	Time        string `json:"timestamp"`
	Recipient   string `json:"recipient_id"`
	UserID      string `json:"recipient_user_id"`
	Marker      string `json:"biz_opaque_callback_data"`
	From        string
	Type        string
	Text        struct{ Body string }
	Context     struct{ ID string }
	Interactive struct {
		Type        string
		ButtonReply struct{ ID, Title string }              `json:"button_reply"`
		ListReply   struct{ ID, Title, Description string } `json:"list_reply"`
	}
	Pricing *struct {
		Model    string `json:"pricing_model"`
		Category string
	}
	Errors []struct {
		Code int
		Data struct{ Details string } `json:"error_data"`
	}
}

// receiver is a webhook that checks every signature.
type receiver struct {
	*httptest.Server
	posts   chan []byte   // raw bodies
	answers chan int      // one for each POST; 200 once closed
	updates chan []update // of each POST answered 200
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{posts: make(chan []byte, 10_000), answers: make(chan int, 10), updates: make(chan []update, 10_000)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return // the simulator was stopped
		}
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		if got, want := req.Header.Get("X-Hub-Signature-256"), "sha256="+hex.EncodeToString(mac.Sum(nil)); got != want {
			t.Errorf("signature %q, want %q", got, want)
		}
		r.posts <- body
		select {
		case code := <-r.answers:
			w.WriteHeader(code)
			if code != http.StatusOK {
				return
			}
		default:
		}
		r.updates <- updatesOf(t, body)
	}))
	t.Cleanup(r.Close)
	return r
}

func updatesOf(t *testing.T, body []byte) []update {
	var n struct {
		Object string
		Entry  []struct {
			ID      string
			Changes []struct {
				Field string
				Value struct {
					Product  string `json:"messaging_product"`
					Metadata struct {
						Number string `json:"phone_number_id"`
					}
					Contacts []struct {
						WaID   string `json:"wa_id"`
						UserID string `json:"user_id"`
					}
					Statuses, Messages []update
				}
			}
		}
	}
	if err := json.Unmarshal(body, &n); err != nil {
		t.Errorf("webhook %s: %v", body, err)
	}
	if n.Object != "whatsapp_business_account" {
		t.Errorf("object %q", n.Object)
	}
	var all []update
	for _, entry := range n.Entry {
		for _, change := range entry.Changes {
			if !slices.Contains([]string{"messages", "standby", "messaging_handovers"}, change.Field) || change.Value.Product != "whatsapp" || entry.ID == "" {
				t.Errorf("odd change in %s", body)
			}
			for _, u := range append(change.Value.Statuses, change.Value.Messages...) {
				u.Number = change.Value.Metadata.Number
				if len(change.Value.Contacts) == 1 {
					u.Contact, u.ContactUser = change.Value.Contacts[0].WaID, change.Value.Contacts[0].UserID
				}
				all = append(all, u)
			}
		}
	}
	return all
}

// received returns everything received so far, in order of arrival.
func (r *receiver) received() []update {
	var all []update
	for {
		select {
		case u := <-r.updates:
			all = append(all, u...)
		default:
			return all
		}
	}
}

func statuses(all []update) []string {
	var names []string
	for _, u := range all {
		if u.Status != "" {
			names = append(names, u.Status)
		} else {
			names = append(names, u.Type)
		}
	}
	return names
}

// notices is a webhook that keeps the change of each POST as text.
type notices struct {
	*httptest.Server
	changes chan string
}

func newNotices(t *testing.T) *notices {
	n := &notices{changes: make(chan string, 1000)}
	n.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Entry []struct {
				ID      string
				Time    int64
				Changes []struct {
					Field string          `json:"field"`
					Value json.RawMessage `json:"value"`
				}
			}
		}
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || len(body.Entry) != 1 || len(body.Entry[0].Changes) != 1 {
			t.Errorf("webhook %+v: %v", body, err)
			return
		}
		change := body.Entry[0].Changes[0]
		if change.Field != "messages" {
			text, _ := json.Marshal(change)
			n.changes <- string(text)
		}
	}))
	t.Cleanup(n.Close)
	return n
}

func (n *notices) received() (all []string) {
	for len(n.changes) > 0 {
		all = append(all, <-n.changes)
	}
	return all
}
