package record_test

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"sluice/internal/message"
	"sluice/internal/record"
)

// TestEntriesAloneAreNoRecord: a worker that appends to a message whose record has been deleted
// makes a new key. It must not keep that id from being used again.
func TestEntriesAloneAreNoRecord(t *testing.T) {
	t.Parallel()
	entry := string(record.Begun(0, "w/1", t0))
	for _, s := range []string{entry, entry + entry} {
		r, err := record.Decode(messageID, s)
		if err != nil || r.Exists() || r.Version() != len(s) {
			t.Errorf("%d bytes: %v, exists: %t, version %d", len(s), err, r.Exists(), r.Version())
		}
	}
}

// TestVersions: the length of the stored form is even with a payload and odd without, and grows.
func TestVersions(t *testing.T) {
	t.Parallel()
	for size := range 300 {
		r := fresh()
		r.Payload = strings.Repeat("x", 1+size)
		even := len(r.Encode())
		if even%2 != 0 || r.Version() != even {
			t.Fatalf("payload of %d: %d bytes, version %d", size, even, r.Version())
		}
		r.Reason = strings.Repeat("y", size%40) // longer or shorter than before
		if again := len(r.Encode()); again%2 != 0 || again <= even {
			t.Fatalf("payload of %d: %d bytes follow %d", size, again, even)
		}
		even = r.Version()
		if same := len(r.Encode()); same <= even || same > even+4 {
			t.Fatalf("the same once more: %d bytes follow %d", same, even)
		}
		r.Payload = ""
		odd := len(r.Encode())
		if odd%2 != 1 {
			t.Fatalf("without payload: %d bytes", odd)
		}
		r.Reason = ""
		if again := len(r.Encode()); again%2 != 1 || again <= odd {
			t.Fatalf("without payload: %d bytes follow %d", again, odd)
		}
	}
}

func TestBegunEntries(t *testing.T) {
	t.Parallel()
	r := fresh()
	form := r.Encode()
	for size := 1; size < 300; size++ {
		token := strings.Repeat("w", size) + "/1"
		entry := record.Begun(0, token, t0.Add(time.Second))
		if len(entry)%2 != 0 {
			t.Errorf("an entry of %d bytes", len(entry))
		}
		read, err := record.Decode(messageID, string(form)+string(entry))
		if err != nil || read.State != message.Attempting || read.Token != token || read.Attempt != 1 || read.Version() != len(form)+len(entry) {
			t.Fatalf("%v: %s by %q, version %d", err, read.State, read.Token, read.Version())
		}
		// Its writer comes to the same record.
		own, _ := r.Begin(0, token, t0.Add(time.Second))
		own = own.Appended(entry)
		if !reflect.DeepEqual(own, read) {
			t.Fatalf("its writer has\n %+v, readers have\n %+v", own, read)
		}
	}
}

// TestEntriesThatCameTooLate: only the first entry that could begin an attempt did.
func TestEntriesThatCameTooLate(t *testing.T) {
	t.Parallel()
	second := t0.Add(time.Second)
	read := func(r record.Record, entries ...[]byte) record.Record {
		t.Helper()
		form := r.Encode()
		got, err := record.Decode(messageID, string(form)+string(bytes.Join(entries, nil)))
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if r := read(fresh(), record.Begun(0, "a/1", second), record.Begun(0, "b/1", second)); r.Token != "a/1" || r.Attempt != 1 {
		t.Errorf("attempt %d by %q", r.Attempt, r.Token)
	}
	if r := read(fresh(), record.Begun(0, "a/1", second), record.Begun(0, "a/1", second.Add(time.Second))); r.Attempt != 1 || len(r.Timeline) != 2 {
		t.Errorf("the same attempt twice: %+v", r.Timeline)
	}
	later := fresh()
	later.NextAt = t0.Add(time.Minute)
	for name, c := range map[string]struct {
		r     record.Record
		entry []byte
	}{
		"another task":      {fresh(), record.Begun(1, "a/1", second)},
		"past its deadline": {fresh(), record.Begun(0, "a/1", t0.Add(time.Hour))},
		"before its time":   {later, record.Begun(0, "a/1", second)},
		"not an entry":      {fresh(), protowire.AppendBytes(protowire.AppendTag(nil, 40, protowire.BytesType), []byte{0x80})},
		"half an entry":     {fresh(), protowire.AppendBytes(protowire.AppendTag(nil, 40, protowire.BytesType), []byte{0, 1, 9, 'a'})},
	} {
		if r := read(c.r, c.entry); r.State != message.Queued || r.Attempt != 0 {
			t.Errorf("%s: %s, attempt %d", name, r.State, r.Attempt)
		}
	}
}
