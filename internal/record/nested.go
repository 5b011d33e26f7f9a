package record

import "google.golang.org/protobuf/encoding/protowire"

// putDetail writes Meta's error text except its message, as a nested message.
func putDetail(b []byte, num protowire.Number, r *Record) []byte {
	d := appendText(nil, 1, r.Detail.Details)
	d = appendNumber(d, 2, int64(r.Detail.Subcode))
	d = appendText(d, 3, r.Detail.Trace)
	if d == nil {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), d)
}

// getDetail reads what putDetail wrote.
func getDetail(r *Record, _ uint64, s string) {
	nested(s, func(num protowire.Number, number uint64, text string) {
		switch num {
		case 1:
			r.Detail.Details = text
		case 2:
			r.Detail.Subcode = int(int64(number))
		case 3:
			r.Detail.Trace = text
		}
	})
}

// putFallback writes what concerns the fallback template, as a nested message.
func putFallback(b []byte, num protowire.Number, r *Record) []byte {
	f := appendText(nil, 1, r.Fallback)
	f = appendText(f, 2, r.Other)
	f = appendText(f, 3, r.Instead)
	if f == nil {
		return b
	}
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), f)
}

// getFallback reads what putFallback wrote.
func getFallback(r *Record, _ uint64, s string) {
	nested(s, func(num protowire.Number, _ uint64, text string) {
		switch num {
		case 1:
			r.Fallback = text
		case 2:
			r.Other = text
		case 3:
			r.Instead = text
		}
	})
}

// nested calls f for the fields of a nested message. It ends at what it cannot read.
func nested(s string, f func(num protowire.Number, number uint64, text string)) {
	for b := []byte(s); len(b) > 0; {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return
		}
		b = b[n:]
		var text string
		var number uint64
		switch kind {
		case protowire.BytesType:
			text, n = protowire.ConsumeString(b)
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return
		}
		b = b[n:]
		f(num, number, text)
	}
}
