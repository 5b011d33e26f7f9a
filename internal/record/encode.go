package record

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"sluice/internal/message"
)

// A stored record is a protobuf message without a schema file: `protoc --decode_raw` prints it. Zero values are
// not stored. A program keeps the fields that it does not know, so a new field needs no new format.
//
// The length of the stored form is its version. The length is even while the record has a payload, and odd
// without one. Within each of the two, each later form is longer than all earlier ones. So an append to a record,
// or a script that expects a length, finds that length only if the record has not changed. Only a tombstone is
// shorter than the record that it replaces; see ToTombstone.

// maxPadding limits how much a record grows in this way: an outage of days makes thousands of attempts. Beyond
// the limit, a length of more than a hundred attempts ago may occur again. A program that read the record then
// reads it again before it appends.
const maxPadding = 4 << 10

// Format is the version number of the stored form. A program cannot read other formats.
const Format = 2

// Numbers of the fields that are not members of Record.
const (
	numFormat  = 1
	numState   = 2
	numBegun   = 40 // appended to a record: an attempt that began
	numPadding = 41
)

// fields are the stored members of a record. A new member is a row here.
var fields = []field{
	moment(3, func(r *Record) *time.Time { return &r.AcceptedAt }),
	moment(4, func(r *Record) *time.Time { return &r.ExpiresAt }),
	count(5, func(r *Record) *int { return &r.Attempt }),
	count(6, func(r *Record) *int { return &r.Task }),
	text(7, func(r *Record) *string { return (*string)(&r.Class) }),
	text(8, func(r *Record) *string { return &r.Type }),
	{9, putTimeline, getTimeline},
	text(10, func(r *Record) *string { return &r.Payload }),
	text(11, func(r *Record) *string { return &r.Hash }),
	text(12, func(r *Record) *string { return &r.To }),
	text(13, func(r *Record) *string { return &r.Template }),
	text(14, func(r *Record) *string { return &r.Recipient }),
	moment(15, func(r *Record) *time.Time { return &r.NextAt }),
	text(16, func(r *Record) *string { return &r.Reason }),
	count(17, func(r *Record) *int { return &r.Code }),
	{18, putWAMIDs, getWAMID},
	text(19, func(r *Record) *string { return &r.Token }),
	count(20, func(r *Record) *int { return &r.Failures }),
	count(21, func(r *Record) *int { return &r.Resends }),
	count(22, func(r *Record) *int { return &r.Duplicates }),
	text(23, func(r *Record) *string { return &r.Ref }),
	{24, putTags, getTag},
	text(25, func(r *Record) *string { return &r.Callback }),
	text(26, func(r *Record) *string { return &r.Detail.Message }),
	text(27, func(r *Record) *string { return &r.Account }),
	text(29, func(r *Record) *string { return &r.RecipientHash }),
	count(30, func(r *Record) *int { return &r.Proven }),
	flag(31, func(r *Record) *bool { return &r.Published }),
	{
		32, func(b []byte, num protowire.Number, r *Record) []byte { return putAfter(b, num, r.After) },
		func(r *Record, _ uint64, s string) { r.After = getAfter(s) },
	},
	{33, putRefused, getRefused},
	{34, putFollowers, func(r *Record, _ uint64, s string) { r.Followers = append(r.Followers, getAfter(s)) }},
	{35, putDetail, getDetail},
	moment(36, func(r *Record) *time.Time { return &r.ReadyAt }),
	{37, putTrace, getTrace},
	moment(38, func(r *Record) *time.Time { return &r.KeyUntil }),
	{39, putFallback, getFallback},
	text(42, func(r *Record) *string { return &r.Client }),
	text(43, func(r *Record) *string { return &r.Campaign }),
	text(44, func(r *Record) *string { return &r.Billed }),
	text(45, func(r *Record) *string { return &r.Context.Account }),
	text(46, func(r *Record) *string { return &r.MovedTo }),
	text(47, func(r *Record) *string { return &r.MovedFrom }),
	count(48, func(r *Record) *int { return &r.Price }),
	count(49, func(r *Record) *int { return &r.Spent }),
	moment(50, func(r *Record) *time.Time { return &r.SpentAt }),
}

// byNumber has the rows of fields by their numbers.
var byNumber = func() (by [64]*field) {
	for i := range fields {
		by[fields[i].num] = &fields[i]
	}
	return by
}()

// field says how one member of a record is stored.
type field struct {
	num protowire.Number
	put func(b []byte, num protowire.Number, r *Record) []byte
	get func(r *Record, n uint64, s string)
}

func text(num protowire.Number, at func(*Record) *string) field {
	return field{
		num,
		func(b []byte, num protowire.Number, r *Record) []byte { return appendText(b, num, *at(r)) },
		func(r *Record, _ uint64, s string) { *at(r) = s },
	}
}

func count(num protowire.Number, at func(*Record) *int) field {
	return field{
		num,
		func(b []byte, num protowire.Number, r *Record) []byte { return appendNumber(b, num, int64(*at(r))) },
		func(r *Record, n uint64, _ string) { *at(r) = int(int64(n)) },
	}
}

// flag stores whether something is true.
func flag(num protowire.Number, at func(*Record) *bool) field {
	return field{
		num,
		func(b []byte, num protowire.Number, r *Record) []byte {
			if !*at(r) {
				return b
			}
			return appendNumber(b, num, 1)
		},
		func(r *Record, n uint64, _ string) { *at(r) = n != 0 },
	}
}

// moment stores a time in Unix milliseconds.
func moment(num protowire.Number, at func(*Record) *time.Time) field {
	return field{
		num,
		func(b []byte, num protowire.Number, r *Record) []byte {
			if at(r).IsZero() {
				return b
			}
			return appendNumber(b, num, at(r).UnixMilli())
		},
		func(r *Record, n uint64, _ string) {
			if n != 0 {
				*at(r) = time.UnixMilli(int64(n)).UTC()
			}
		},
	}
}

func appendText(b []byte, num protowire.Number, s string) []byte {
	if s == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), s)
}

func appendNumber(b []byte, num protowire.Number, n int64) []byte {
	if n == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, num, protowire.VarintType), uint64(n))
}

func putTags(b []byte, num protowire.Number, r *Record) []byte {
	for _, t := range r.Tags {
		b = protowire.AppendString(protowire.AppendTag(b, num, protowire.BytesType), t)
	}
	return b
}

func getTag(r *Record, _ uint64, s string) { r.Tags = append(r.Tags, s) }

func putWAMIDs(b []byte, num protowire.Number, r *Record) []byte {
	b = appendText(b, num, packWAMID(r.WAMID))
	for _, o := range r.Others {
		b = appendText(b, num, packWAMID(o))
	}
	return b
}

func getWAMID(r *Record, _ uint64, s string) {
	switch wamid := unpackWAMID(s); {
	case wamid == "":
	case r.WAMID == "":
		r.WAMID = wamid
	default:
		r.Others = append(r.Others, wamid)
	}
}

func putRefused(b []byte, num protowire.Number, r *Record) []byte {
	for _, wamid := range r.Refused {
		b = appendText(b, num, packWAMID(wamid))
	}
	return b
}

func getRefused(r *Record, _ uint64, s string) {
	if wamid := unpackWAMID(s); wamid != "" {
		r.Refused = append(r.Refused, wamid)
	}
}

const wamidPrefix = "wamid."

// packWAMID stores Meta's id of a message, which is base64 after a prefix, in three quarters of its size: a
// byte 1 and the decoded bytes, if decoding is exact. Any other id is stored unchanged after a byte 0.
func packWAMID(wamid string) string {
	if wamid == "" {
		return ""
	}
	if rest, ok := strings.CutPrefix(wamid, wamidPrefix); ok && !strings.ContainsAny(rest, "\r\n") { // which base64 ignores
		if raw, err := base64.StdEncoding.Strict().DecodeString(rest); err == nil && len(raw) > 0 {
			return "\x01" + string(raw)
		}
	}
	return "\x00" + wamid
}

func unpackWAMID(s string) string {
	switch {
	case s == "":
		return ""
	case s[0] == 1:
		return wamidPrefix + base64.StdEncoding.EncodeToString([]byte(s[1:]))
	}
	return s[1:]
}

// putTrace writes a traceparent, which is hexadecimal, in half of its size: a byte 1, the trace id and the span id. Any other
// text is stored unchanged after a byte 0.
func putTrace(b []byte, num protowire.Number, r *Record) []byte {
	if r.Trace == "" {
		return b
	}
	if ids, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSuffix(r.Trace, "-01"), "-", "")); err == nil && len(ids) == 1+16+8 {
		if packed := "\x01" + string(ids[1:]); unpackTrace(packed) == r.Trace {
			return appendText(b, num, packed)
		}
	}
	return appendText(b, num, "\x00"+r.Trace)
}

func getTrace(r *Record, _ uint64, s string) { r.Trace = unpackTrace(s) }

func unpackTrace(s string) string {
	switch {
	case s == "":
		return ""
	case len(s) == 1+16+8 && s[0] == 1:
		return "00-" + hex.EncodeToString([]byte(s[1:17])) + "-" + hex.EncodeToString([]byte(s[17:])) + "-01"
	}
	return s[1:]
}

// putTimeline writes the steps one after the other: letter of the state, attempt, milliseconds since the
// acceptance, code, length of the reason, reason.
func putTimeline(b []byte, num protowire.Number, r *Record) []byte {
	if len(r.Timeline) == 0 {
		return b
	}
	var steps []byte
	for _, s := range r.Timeline {
		steps = append(steps, s.State.Letter())
		steps = protowire.AppendVarint(steps, uint64(s.Attempt))
		steps = protowire.AppendVarint(steps, protowire.EncodeZigZag(s.At.UnixMilli()-r.AcceptedAt.UnixMilli()))
		steps = protowire.AppendVarint(steps, uint64(s.Code))
		steps = protowire.AppendString(steps, s.Reason)
	}
	return protowire.AppendBytes(protowire.AppendTag(b, num, protowire.BytesType), steps)
}

// getTimeline reads what putTimeline wrote. AcceptedAt must have been read before. A step that cannot be read
// ends the timeline, because the timeline is for people and no rule depends on it.
func getTimeline(r *Record, _ uint64, s string) {
	accepted := r.AcceptedAt.UnixMilli()
	for b := []byte(s); len(b) > 0; {
		step := message.Step{State: message.StateOf(b[0])}
		b = b[1:]
		var n [3]uint64
		for i := range n {
			v, size := protowire.ConsumeVarint(b)
			if size < 0 {
				return
			}
			n[i], b = v, b[size:]
		}
		reason, size := protowire.ConsumeString(b)
		if size < 0 {
			return
		}
		b = b[size:]
		step.Attempt, step.At = int(n[0]), time.UnixMilli(accepted+protowire.DecodeZigZag(n[1])).UTC()
		step.Code, step.Reason = int(n[2]), reason
		r.Timeline = append(r.Timeline, step)
	}
}

// Version returns the length of the stored form that the record was read from or written as. STRLEN returns
// the same until the record changes. 0: the record is not stored.
func (r *Record) Version() int { return r.size }

// Encode returns the stored form that replaces the one from which the record was read, and updates Version.
func (r *Record) Encode() []byte {
	b := make([]byte, 0, 256+len(r.Payload))
	b = appendNumber(b, numFormat, Format)
	b = appendNumber(b, numState, int64(r.State.Letter()))
	for _, f := range fields {
		b = f.put(b, f.num, r)
	}
	b = append(b, r.unknown...)
	parity := 1
	if r.Payload != "" {
		parity = 0
	}
	least := 0
	if r.size%2 == parity && r.size-len(b) < maxPadding {
		least = r.size + 1
	}
	b = pad(b, least, parity)
	r.size = len(b)
	return b
}

// pad appends padding until b has at least that length, with the given parity.
func pad(b []byte, least, parity int) []byte {
	if len(b) >= least && len(b)%2 == parity {
		return b
	}
	size := max(0, least-len(b)-protowire.SizeTag(numPadding)-1)
	total := func() int { return len(b) + protowire.SizeTag(numPadding) + protowire.SizeBytes(size) }
	for total() < least || total()%2 != parity {
		size++
	}
	return protowire.AppendBytes(protowire.AppendTag(b, numPadding, protowire.BytesType), make([]byte, size))
}

// ErrFormat means that a stored string is not a record that this program can read.
var ErrFormat = fmt.Errorf("%w: not a record of a format that this version reads", message.ErrUnreadable)

// Decode reads the stored record of a message. An empty string is no record, see Exists.
func Decode(id, stored string) (Record, error) {
	r := Record{size: len(stored)}
	if stored == "" {
		return r, nil
	}
	var begun []string
	format, b := uint64(0), []byte(stored)
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return Record{}, fmt.Errorf("%s: %w", id, ErrFormat)
		}
		start := len(stored) - len(b)
		b = b[n:]
		var number uint64
		var bytes string
		switch kind {
		case protowire.VarintType:
			number, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			var v []byte
			v, n = protowire.ConsumeBytes(b)
			end := len(stored) - len(b) + max(n, 0)
			bytes = stored[end-len(v) : end] // shares the memory of stored
		default:
			n = protowire.ConsumeFieldValue(num, kind, b)
		}
		if n < 0 {
			return Record{}, fmt.Errorf("%s: %w", id, ErrFormat)
		}
		b = b[n:]
		switch {
		case num == numFormat:
			format = number
		case num == numState:
			r.State = message.StateOf(byte(number))
		case num == numBegun:
			begun = append(begun, bytes)
		case num == numPadding:
		case int(num) < len(byNumber) && byNumber[num] != nil:
			byNumber[num].get(&r, number, bytes)
		default:
			r.unknown = append(r.unknown, stored[start:len(stored)-len(b)]...)
		}
	}
	if format == 0 && r.State == "" && len(r.unknown) == 0 && len(begun) > 0 {
		return Record{size: len(stored)}, nil // a worker appended to a record that Redis had lost
	}
	if format != Format || r.State == "" {
		return Record{}, fmt.Errorf("%s: %w", id, ErrFormat)
	}
	r.ID = id
	r.From, _ = message.Number(id)
	for _, e := range begun {
		r = r.apply(e)
	}
	r.SendAt = r.sendAt()
	return r, nil
}

// Begun returns the entry that a worker appends to the record of a message to begin an attempt for a task.
// Decode decides what the entries mean, in their order: an entry that came too late has no effect for any reader.
func Begun(task int, token string, at time.Time) []byte {
	e := protowire.AppendVarint(nil, uint64(task))
	e = protowire.AppendVarint(e, uint64(at.UnixMilli()))
	e = protowire.AppendString(e, token)
	for {
		entry := protowire.AppendBytes(protowire.AppendTag(nil, numBegun, protowire.BytesType), e)
		if len(entry)%2 == 0 { // see Version
			return entry
		}
		e = append(e, 0)
	}
}

// apply applies an entry that Begun made.
func (r Record) apply(entry string) Record {
	b := []byte(entry)
	task, n := protowire.ConsumeVarint(b)
	if n < 0 {
		return r
	}
	at, m := protowire.ConsumeVarint(b[n:])
	if m < 0 {
		return r
	}
	token, k := protowire.ConsumeString(b[n+m:])
	if k < 0 {
		return r
	}
	if after, begin := r.Begin(int(task), token, time.UnixMilli(int64(at)).UTC()); begin.Verdict == message.Go {
		after.size = r.size
		return after
	}
	return r
}
