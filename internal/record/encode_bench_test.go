package record_test

import (
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

func BenchmarkEncode(b *testing.B) {
	r := cases()["3 queued again"]
	b.ReportAllocs()
	for b.Loop() {
		one := r
		one.Encode()
	}
}

func BenchmarkDecode(b *testing.B) {
	r := cases()["3 queued again"]
	form := string(r.Encode())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := record.Decode(messageID, form); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeBegun(b *testing.B) {
	r := fresh()
	form := string(append(r.Encode(), record.Begun(0, "worker-1/2a", t0.Add(time.Second))...))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := record.Decode(messageID, form); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	r := cases()["6 submitted"]
	c := message.Change{To: message.Submitted, Attempt: 3, WAMID: wamid}
	var buffer []byte
	b.ReportAllocs()
	for b.Loop() {
		buffer = r.AppendEvent(buffer[:0], t0, c)
	}
}
