package record_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"sluice/internal/golden"
	"sluice/internal/message"
	"sluice/internal/record"
)

//go:generate go test . -run Stored -update

const (
	number    = "106540352242922"
	messageID = number + "-aaaaaaaaaaaaaaaaaaaaaaaaaa"
	wamid     = "wamid.HBgLMTY1MDM4Nzk0MzkVAgARGBI3N0YzNUE0RjQ2OTdBRDYzRTYA"
)

// t0 is when the records of these tests are accepted.
var t0 = time.UnixMilli(1_764_000_000_123).UTC()

// order is a message as it is accepted.
func order() message.Message {
	return message.Message{
		ID: messageID, From: number, Class: message.Utility, Ref: "order-1", Tags: []string{"spring", "a,b"}, Callback: `{"x":1}`,
		ExpiresAt: t0.Add(time.Hour), Payload: []byte(`{"type":"text","text":{"body":"hello"}}`), Hash: "hash",
		Content: message.Content{Type: "text", To: "+16505551234"},
	}
}

func fresh() record.Record { return record.New(order(), "recipient", t0) }

// stored returns a record as a reader of its stored form sees it.
func stored(t testing.TB, r record.Record) record.Record {
	t.Helper()
	after, err := record.Decode(r.ID, string(r.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	return after
}

// members calls f for each member of a record, those of embedded structs included.
func members(v reflect.Value, f func(name string, v reflect.Value)) {
	for i := range v.NumField() {
		switch m := v.Type().Field(i); {
		case m.Anonymous:
			members(v.Field(i), f)
		case m.IsExported():
			f(m.Name, v.Field(i))
		}
	}
}

// fill sets a member, or all members of it, to something that is not zero.
func fill(t *testing.T, name string, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case time.Time:
		v.Set(reflect.ValueOf(t0.Add(17 * time.Second)))
		return
	case message.State:
		v.Set(reflect.ValueOf(message.Parked))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("<" + name + ">")
	case reflect.Int:
		v.SetInt(300)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Type().Field(i).Name, v.Field(i))
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(t, fmt.Sprint(name, i), v.Index(i))
		}
	default:
		t.Fatalf("%s is a %s: teach this test to fill it", name, v.Type())
	}
}

// derived are the members that are not stored, because they follow from others.
var derived = map[string]string{
	"ID":     "the key that the record is stored under",
	"From":   "the number in the id",
	"SendAt": "NextAt, while no attempt has begun",
}

// TestEveryMemberIsStored sets each member of a record by itself. A new member that has no row in
// the table of stored fields fails here.
func TestEveryMemberIsStored(t *testing.T) {
	t.Parallel()
	var all record.Record
	members(reflect.ValueOf(&all).Elem(), func(name string, v reflect.Value) { fill(t, name, v) })
	all.ID, all.From, all.SendAt = messageID, number, time.Time{}
	if got := stored(t, all); !record.Same(got, all) {
		t.Errorf("all members together:\n got %+v\nwant %+v", got, all)
	}

	seen := map[string]bool{}
	members(reflect.ValueOf(&all).Elem(), func(name string, full reflect.Value) {
		seen[name] = true
		if derived[name] != "" {
			return
		}
		one := record.Record{Record: message.Record{Context: message.Context{ID: messageID, From: number}, State: message.Parked, AcceptedAt: t0}}
		if name == "Others" {
			one.WAMID = wamid // a message has no second id without a first
		}
		var got reflect.Value
		members(reflect.ValueOf(&one).Elem(), func(n string, v reflect.Value) {
			if n == name {
				v.Set(full)
			}
		})
		read := stored(t, one)
		members(reflect.ValueOf(&read).Elem(), func(n string, v reflect.Value) {
			if n == name {
				got = v
			}
		})
		if !reflect.DeepEqual(got.Interface(), full.Interface()) {
			t.Errorf("%s is not stored: read back as %v, want %v", name, got, full)
		}
		if !record.Same(read, one) {
			t.Errorf("%s changes another member: %+v, want %+v", name, read, one)
		}
	})
	for name := range derived {
		if !seen[name] {
			t.Errorf("%s is no member of a record", name)
		}
	}
}

func TestDerivedMembers(t *testing.T) {
	t.Parallel()
	m := order()
	m.SendAt = t0.Add(time.Minute)
	r := stored(t, record.New(m, "", t0))
	if r.ID != messageID || r.From != number {
		t.Errorf("id %q, from %q", r.ID, r.From)
	}
	if !r.SendAt.Equal(m.SendAt) || !r.NextAt.Equal(m.SendAt) {
		t.Errorf("send at %s, next at %s, want %s", r.SendAt, r.NextAt, m.SendAt)
	}
	r, _ = r.Begin(0, "w/1", m.SendAt)
	r, _ = r.Decide(record.Input{
		Kind: record.Outcome, At: m.SendAt, Attempt: 1, Token: "w/1",
		Move: message.Move{To: message.Queued, In: time.Second},
	})
	if r = stored(t, r); r.NextAt.IsZero() || !r.SendAt.IsZero() {
		t.Errorf("after an attempt: send at %s, next at %s", r.SendAt, r.NextAt)
	}
}

// TestTimesAreMilliseconds: the writer and the readers of a record see the same times, so they come to the same
// decision.
func TestTimesAreMilliseconds(t *testing.T) {
	t.Parallel()
	m := order()
	odd := 345_678 * time.Nanosecond
	m.SendAt, m.ExpiresAt = t0.Add(time.Second+odd), m.ExpiresAt.Add(odd).In(time.FixedZone("", 3600))
	r := record.New(m, "", t0.Add(odd).Local())
	if got := stored(t, r); !record.Same(got, r) {
		t.Errorf("new:\n made %+v\n read %+v", r, got)
	}
	r, begin := r.Begin(0, "w/1", t0.Add(2*time.Second+odd).Local())
	if begin.Verdict != message.Go {
		t.Fatal(begin.Verdict)
	}
	if got := stored(t, r); !record.Same(got, r) {
		t.Errorf("begun:\n made %+v\n read %+v", r, got)
	}
	r, _ = r.Decide(record.Input{
		Kind: record.Outcome, At: t0.Add(3*time.Second + odd).Local(), Attempt: 1, Token: "w/1",
		Move: message.Move{To: message.Queued, In: time.Second + odd, ExpiresAt: t0.Add(2*time.Hour + odd).Local()},
	})
	if got := stored(t, r); !record.Same(got, r) {
		t.Errorf("queued again:\n made %+v\n read %+v", r, got)
	}
}

// TestTraceIsSmall: a trace needs 28 bytes of a record, and the record of a message without a trace none.
func TestTraceIsSmall(t *testing.T) {
	t.Parallel()
	r := fresh()
	without := len(r.Encode())
	r.Forget()
	r.Trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	with := r.Encode()
	if n := len(with) - without; n > 28 || !bytes.Contains(with, []byte("\x4b\xf9\x2f\x35\x77")) {
		t.Errorf("a trace needs %d bytes", n)
	}
	for _, text := range []string{r.Trace, "00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", "any", "\x01", "-01"} {
		if r.Trace = text; stored(t, r).Trace != text {
			t.Errorf("%q is read back as %q", text, stored(t, r).Trace)
		}
	}
}

// cases are records as they are stored in the steps of a life.
func cases() map[string]record.Record {
	at := func(s int) time.Time { return t0.Add(time.Duration(s) * time.Second) }
	all := map[string]record.Record{}
	add := func(name string, r record.Record) record.Record {
		r.Encode()
		all[name] = r
		return r
	}
	r := fresh()
	r.Account, r.Trace, r.RecipientHash, r.Template = "102290129340398", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "0123456789abcdef", "hello/en_US"
	r = add("1 queued", r)
	r, _ = r.Begin(0, "w-1/a", at(1))
	r = add("2 attempting", r)
	r, _ = r.Decide(record.Input{
		Kind: record.Outcome, At: at(2), Attempt: 1, Token: "w-1/a",
		Move: message.Move{To: message.Queued, Code: 131056, Reason: "code 131056", Detail: message.ErrorDetail{Message: "Pair rate limit"}, In: time.Second, Counts: true},
	})
	r = add("3 queued again", r)
	r, _ = r.Begin(0, "w-2/b", at(4))
	r, _ = r.Decide(record.Input{
		Kind: record.Seen, At: at(70), Attempt: 2, From: message.Attempting,
		Move: message.Move{To: message.InDoubt, Reason: message.ReasonWorkerDied, In: 15 * time.Minute},
	})
	r = add("4 in doubt", r)
	dead, _ := r.Decide(record.Input{
		Kind: record.Seen, At: at(80), Attempt: 2, From: message.InDoubt,
		Move: message.Move{To: message.Dead, Code: 131000, Reason: message.ReasonAttempts, Keep: true},
	})
	add("5 dead letter, kept", dead)
	r, _ = r.Decide(record.Input{
		Kind: record.Seen, At: at(1000), Attempt: 2, From: message.InDoubt,
		Move: message.Move{To: message.Queued, Reason: message.ReasonPolicy, Resend: true},
	})
	r, _ = r.Begin(1, "w-1/c", at(1001))
	r, _ = r.Decide(record.Input{Kind: record.Outcome, At: at(1002), Attempt: 3, Token: "w-1/c", Move: message.Move{To: message.Submitted, WAMID: wamid}})
	r = add("6 submitted", r)
	r, _ = r.Decide(record.Input{Kind: record.Status, At: at(1003), Attempt: 2, Move: message.Move{To: message.Delivered, WAMID: "wamid.not base64"}})
	add("7 delivered, a duplicate", r)
	return all
}

// TestGoldenForms: the stored form does not change by accident, and what is stored stays readable.
func TestGoldenForms(t *testing.T) {
	t.Parallel()
	const path = "testdata/stored.txt"
	all := cases()
	var page strings.Builder
	page.WriteString("Records as they are stored, and the fields in them. Programs of this format must be able to read each of them.\n")
	names := []string{"1 queued", "2 attempting", "3 queued again", "4 in doubt", "5 dead letter, kept", "6 submitted", "7 delivered, a duplicate"}
	if len(names) != len(all) {
		t.Fatalf("%d names for %d records", len(names), len(all))
	}
	for _, name := range names {
		r := all[name]
		first := r
		form := first.Encode()
		write(&page, name, form)
		if name == "1 queued" {
			write(&page, "2 begun by an entry", append(form, record.Begun(0, "w-1/a", t0.Add(time.Second))...))
		}
	}
	golden.File(t, path, []byte(page.String()))

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	forms := regexp.MustCompile(`(?m)^# (.*)\n((?:  [0-9a-f]+\n)+)`).FindAllStringSubmatch(string(text), -1)
	if len(forms) != len(names)+1 {
		t.Fatalf("%d forms in %s", len(forms), path)
	}
	for _, f := range forms {
		form, err := hex.DecodeString(strings.NewReplacer(" ", "", "\n", "").Replace(f[2]))
		if err != nil {
			t.Fatal(err)
		}
		got, err := record.Decode(messageID, string(form))
		if err != nil {
			t.Errorf("%s: %v", f[1], err)
			continue
		}
		want, known := all[f[1]]
		if !known {
			want = all["2 attempting"]
		}
		if !record.Same(got, want) {
			t.Errorf("%s:\n read %+v\n want %+v", f[1], got, want)
		}
	}
}

// write writes a stored form in readable text.
func write(w *strings.Builder, name string, form []byte) {
	fmt.Fprintf(w, "\n# %s\n", name)
	for line := form; len(line) > 0; line = line[min(40, len(line)):] {
		fmt.Fprintf(w, "  %x\n", line[:min(40, len(line))])
	}
	for b := form; len(b) > 0; {
		num, kind, n := protowire.ConsumeTag(b)
		b = b[n:]
		if kind == protowire.VarintType {
			v, n := protowire.ConsumeVarint(b)
			fmt.Fprintf(w, "%d: %d\n", num, v)
			b = b[n:]
			continue
		}
		v, n := protowire.ConsumeBytes(b)
		fmt.Fprintf(w, "%d: %q\n", num, v)
		b = b[n:]
	}
}

// newer returns fields that this version does not know, one of each wire type.
func newer() []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 60, protowire.VarintType), 7)
	b = protowire.AppendString(protowire.AppendTag(b, 61, protowire.BytesType), "newer")
	b = protowire.AppendFixed32(protowire.AppendTag(b, 62, protowire.Fixed32Type), 8)
	b = protowire.AppendFixed64(protowire.AppendTag(b, 59, protowire.Fixed64Type), 9)
	b = protowire.AppendTag(b, 63, protowire.StartGroupType)
	b = protowire.AppendString(protowire.AppendTag(b, 1, protowire.BytesType), "inside")
	b = protowire.AppendTag(b, 63, protowire.EndGroupType)
	return b
}

// TestUnknownFieldsSurvive: an older program that changes a record keeps what a newer one stored.
func TestUnknownFieldsSurvive(t *testing.T) {
	t.Parallel()
	r := fresh()
	form := append(r.Encode(), newer()...)
	read, err := record.Decode(messageID, string(form))
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if !bytes.Equal(record.Unknown(read), newer()) {
			t.Fatalf("kept %x, want %x", record.Unknown(read), newer())
		}
		read, _ = read.Begin(read.Task, "w/1", t0.Add(time.Minute))
		read, _ = read.Decide(record.Input{
			Kind: record.Outcome, At: t0.Add(time.Minute), Attempt: read.Attempt, Token: "w/1",
			Move: message.Move{To: message.Queued},
		})
		next := read.Encode()
		if !bytes.Contains(next, newer()) {
			t.Fatalf("%x has lost %x", next, newer())
		}
		if read, err = record.Decode(messageID, string(next)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	r := fresh()
	form := string(r.Encode())
	for name, s := range map[string]string{
		"another format":    strings.Replace(form, "\x08\x02", "\x08\x03", 1),
		"no format":         form[2:],
		"an unknown state":  strings.Replace(form, "\x10q", "\x10Z", 1),
		"a cut end":         form[:len(form)-1],
		"a hash of a field": "st",
		"text":              `{"state":"queued"}`,
		"a field number 0":  form + "\x00\x00",
		"an open group":     form + "\xfb\x03",
	} {
		if got, err := record.Decode(messageID, s); !errors.Is(err, record.ErrFormat) || got.Exists() {
			t.Errorf("%s: %v, exists: %t", name, err, got.Exists())
		}
	}
	if r, err := record.Decode(messageID, ""); err != nil || r.Exists() || r.Version() != 0 {
		t.Errorf("nothing stored: %v, exists: %t, version %d", err, r.Exists(), r.Version())
	}
}

func TestWAMIDs(t *testing.T) {
	t.Parallel()
	for _, w := range []string{
		wamid, "wamid.", "wamid.AA==", "wamid.AB==", "wamid.A", "wamid.AAAA\n", "wamid.not base64", "other", "\x00", "\x01AAAA", "w", "wamid.wamid.AAAA", "wamid.AAA", "é",
	} {
		r := fresh()
		r.WAMID, r.Others = w, []string{w + "2", "wamid.AAAA", wamid}
		if got := stored(t, r); !record.Same(got, r) {
			t.Errorf("%q is read back as %q, %q", w, got.WAMID, got.Others)
		}
	}
	a, b := fresh(), fresh()
	a.WAMID = wamid
	if n := len(a.Encode()) - len(b.Encode()); n > len(wamid)*3/4+6 {
		t.Errorf("an id of %d bytes takes %d", len(wamid), n)
	}
}

// FuzzDecode: nothing that is stored makes a program panic, and what can be read can be written and
// is then read as the same.
func FuzzDecode(f *testing.F) {
	for _, r := range cases() {
		f.Add(r.Encode())
		f.Add(append(r.Encode(), newer()...))
		f.Add(append(r.Encode(), record.Begun(r.Task, "w/9", t0.Add(time.Minute))...))
	}
	f.Add([]byte("\x08\x02\x10q\x78\x00"))                                      // a time of zero
	f.Add([]byte("\x08\x02\x10q\x92\x01\x02\x00a\x92\x01\x01\x00\x92\x01\x00")) // empty ids of Meta's
	f.Add([]byte("\x08\x02\x10q\x8a\x02\x00"))                                  // an empty refused id
	f.Add([]byte("\x08\x02\x10q\xaa\x02\x01\x01"))                              // a trace that is too short
	f.Fuzz(func(t *testing.T, form []byte) {
		r, err := record.Decode(messageID, string(form))
		if err != nil || !r.Exists() {
			return
		}
		if r.Version() != len(form) {
			t.Errorf("version %d of %d bytes", r.Version(), len(form))
		}
		next := r.Encode()
		same, err := record.Decode(messageID, string(next))
		if err != nil {
			t.Fatal(err)
		}
		if !record.Same(r, same) {
			t.Errorf("read\n %+v\nwritten and read again\n %+v", r, same)
		}
		if (len(next)%2 == 0) != (r.Payload != "") || len(next)%2 == len(form)%2 && len(next) <= len(form) {
			t.Errorf("%d bytes follow %d", len(next), len(form))
		}
		r.ListEntry()
		r.Open()
		r.IndexedWAMIDs()
	})
}
