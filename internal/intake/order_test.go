package intake_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// TestOrders: orders get the same results as lines of a batch, with the rights of a key.
func TestOrders(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bodies := []string{
		envelope(`,"key":"a"`), envelope(`,"key":"a"`), envelope(`,"key":"a","ref":"other"`), `{`, `[]`, `{"from":"` + ours + `"}`,
		strings.Replace(envelope(""), ours, theirs, 1), envelope(`,"ref":"` + strings.Repeat("x", 300<<10) + `"`), envelope(`,"expires_at":"2020-01-01T00:00:00Z"`),
		envelope(`,"after":{"key":"none","state":"sent"}`), envelope(`,"nosuch":1`),
	}
	r := b.do(t, http.MethodPost, "/v1/messages/batch", strings.Join(bodies, "\n"), withHeader("Content-Type", "application/x-ndjson"))
	lines := strings.Split(strings.TrimSpace(r.body), "\n")
	clear(b.store.messages)
	var orders []message.Order
	for _, body := range bodies {
		orders = append(orders, message.Order{Body: []byte(body)})
	}
	results, err := b.in.AcceptOrders(t.Context(), "narrow", orders)
	if err != nil || len(results) != len(lines) {
		t.Fatalf("%d results, %d lines, %v", len(results), len(lines), err)
	}
	for i, v := range results {
		var want struct {
			ID        string
			Duplicate bool
			Problem   json.RawMessage
		}
		if err := json.Unmarshal([]byte(lines[i]), &want); err != nil {
			t.Fatal(err)
		}
		if v.ID != want.ID || v.Duplicate != want.Duplicate || string(v.Problem) != string(want.Problem) || (v.Code == "") != (want.Problem == nil) || v.Retry {
			t.Errorf("%.80s: %+v, as a line %s", bodies[i], v, lines[i])
		}
	}
	for _, key := range []string{"revoked", "expired", "readOnly", "nosuch"} {
		if v, err := b.in.AcceptOrders(t.Context(), key, orders); v != nil || err == nil {
			t.Errorf("key %s: %d results, %v", key, len(v), err)
		}
	}
}

// TestCheckOrder: a check finds what does not change with time, with the rights of a key, and stores nothing.
func TestCheckOrder(t *testing.T) {
	t.Parallel()
	b := setup(t)
	key := httpapi.Key{Name: "k", Numbers: []string{ours}}
	for body, want := range map[string]string{
		envelope(""): "", `{`: "json_invalid", envelope(`,"class":"urgent"`): "class_unknown", strings.Replace(envelope(""), `"hi"`, `""`, 1): "text_empty",
		strings.Replace(envelope(""), ours, theirs, 1): "phone_number_id_not_found",
	} {
		number, to, _, refused := b.in.CheckOrder(key, []byte(body))
		if want == "" && (refused != nil || number != ours || !strings.Contains(hello, to) || to == "") || want != "" && (refused == nil || refused[0].Code != want || number != "") {
			t.Errorf("%s: %q, %q, %v, want %q", body, number, to, refused, want)
		}
	}
	if len(b.store.messages) > 0 {
		t.Errorf("%d messages are stored", len(b.store.messages))
	}
}

// TestOrderKeys: an order without a key has its default key. Storage that is unavailable or full is not a refusal.
func TestOrderKeys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	orders := []message.Order{{Body: []byte(envelope("")), Key: "row-1"}, {Body: []byte(envelope(`,"key":null`)), Key: "row-2"}, {Body: []byte(envelope(`,"key":"own"`)), Key: "row-3"}}
	want := []string{message.NewID(ours, "row-1"), message.NewID(ours, "row-2"), message.NewID(ours, "own")}
	for _, again := range []bool{false, true} {
		results, err := b.in.AcceptOrders(t.Context(), "narrow", orders)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, v := range results {
			if ids = append(ids, v.ID); v.Duplicate != again {
				t.Errorf("%+v", v)
			}
		}
		if !slices.Equal(ids, want) {
			t.Errorf("ids %q, want %q", ids, want)
		}
	}
	for code, err := range map[string]error{"overloaded": message.ErrFull, "store_unavailable": errors.New("down")} {
		b.store.err = err
		if v, err := b.in.AcceptOrders(t.Context(), "narrow", orders[:1]); err != nil || !v[0].Retry || v[0].Code != code {
			t.Errorf("%s: %s, %v", code, fmt.Sprint(v), err)
		}
	}
}
