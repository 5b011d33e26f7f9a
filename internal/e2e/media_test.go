package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"sluice/client"
	"sluice/internal/graphsim"
)

// TestUploadOnce: a file is uploaded to Meta once for a number, by Sluice's API or by Meta's path, and messages of this number name it by its
// hash: Meta gets its own id. At a number without the file they are refused.
func TestUploadOnce(t *testing.T) {
	t.Parallel()
	w := setup(t, 80, graphsim.Options{Token: "e2e-access-token"})
	w.worker()
	file := bytes.Repeat([]byte("picture "), 100_000)
	id, err := w.api.Upload(t.Context(), numbers[0], `a "b".png`, "image/png", bytes.NewReader(file))
	if err != nil || !strings.HasPrefix(id, "sha256:") {
		t.Fatalf("%q, %v", id, err)
	}
	find := func() string {
		return w.call("GET", "/v1/media/"+strings.TrimPrefix(id, "sha256:")+"?phone_number_id="+numbers[0], "", "", 200)
	}
	first := find()
	if again, err := w.api.Upload(t.Context(), numbers[0], "other.png", "image/png", bytes.NewReader(file)); err != nil || again != id || find() != first {
		t.Errorf("again: %q, %v, then %s, first %s", again, err, find(), first)
	}
	m := client.Message{From: numbers[0], Content: json.RawMessage(`{"to":"+15551230001","type":"image","image":{"id":"` + id + `"}}`)}
	checked, err := w.api.Check(t.Context(), m)
	var meta struct{ ID string }
	json.Unmarshal([]byte(first), &meta)
	if err != nil || !strings.Contains(string(checked.Payload), `"image":{"id":"`+meta.ID+`"}`) {
		t.Errorf("%s, %v, want Meta's id %s", checked.Payload, err, meta.ID)
	}
	a, err := w.api.Send(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if r := w.settled([]string{a.ID}, over)[a.ID]; r.State != client.StateDelivered {
		t.Errorf("it is %s: %s", r.State, r.Reason)
	}
	m.From = numbers[1]
	var p *client.Problem
	if _, err := w.api.Check(t.Context(), m); !errors.As(err, &p) || p.Code != "media_not_uploaded" {
		t.Errorf("at the other number: %v", err)
	}
	form := "--b\r\nContent-Disposition: form-data; name=\"messaging_product\"\r\n\r\nwhatsapp\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.png\"\r\nContent-Type: image/png\r\n\r\n" + string(file) + "\r\n--b--\r\n"
	w.call("POST", "/v25.0/"+numbers[1]+"/media", "multipart/form-data; boundary=b", form, 200)
	if _, err := w.api.Check(t.Context(), m); err != nil {
		t.Errorf("after its upload by Meta's path: %v", err)
	}
	second := "Content-Disposition: form-data; name=\"file\"; filename=\"y.png\"\r\nContent-Type: image/png\r\n\r\nother\r\n--b--\r\n"
	answer := w.call("POST", "/v25.0/"+numbers[1]+"/media", "multipart/form-data; boundary=b", strings.Replace(form, "--b--", "--b", 1)+second, 400)
	if !strings.Contains(answer, "several fields file") {
		t.Errorf("a form with two files: %s", answer)
	}
	w.call("DELETE", "/v25.0/"+meta.ID, "", "", 200)
	w.call("GET", "/v1/media/"+strings.TrimPrefix(id, "sha256:")+"?phone_number_id="+numbers[0], "", "", 404)
	m.Content = json.RawMessage(`{"to":"+15551230001","type":"image","image":{"id":"sha256:ABC"}}`)
	if _, err := w.api.Check(t.Context(), m); !errors.As(err, &p) || p.Code != "media_hash_invalid" {
		t.Errorf("no hash: %v", err)
	}
}
