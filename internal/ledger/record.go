package ledger

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/internal/message"
)

// A record is a hash. Redis keeps a hash in a third of the memory while none of its values is
// longer than 64 bytes; so a message's context lies in several short fields, and its timeline
// is written small:
//
//	st why code n k f rs    state, its reason, Meta's code, attempts, task counter, counted failures, resends
//	own at next             whose attempt it is, since when; when the next thing is due
//	acc exp                 accepted at, deadline
//	c ty to tpl x           message.Context: class, type, masked recipient, template, and its other members as JSON
//	pair ref                names of its number and recipient, and of its reference
//	hash nonce              of the request that made it
//	wamid wamids dup        Meta's id without "wamid."; further ones; how many
//	tl                      the last 20 steps: "<letter><attempt>+<ms since acc>[:<code>:<reason>]|"
//
// Times are Unix milliseconds. What is zero or empty is not there.

// letters stand for the states in a timeline.
var letters = map[message.State]string{
	message.Queued: "q", message.Attempting: "a", message.InDoubt: "i", message.Parked: "p",
	message.Submitted: "s", message.Sent: "t", message.Delivered: "d", message.Read: "r", message.Played: "y",
	message.Failed: "f", message.Rejected: "j", message.Expired: "x", message.Cancelled: "c", message.Dead: "b",
}

// stateOf reads letters.
var stateOf = func() map[string]message.State {
	of := map[string]message.State{}
	for s, l := range letters {
		of[l] = s
	}
	return of
}()

// tables writes down, for the scripts, what Go knows of the states: there is one order of
// ranks, and one alphabet.
func tables() string {
	var rank, letter strings.Builder
	for _, s := range message.States() {
		fmt.Fprintf(&rank, "%s=%d,", s, s.Rank(""))
		fmt.Fprintf(&letter, "%s='%s',", s, letters[s])
	}
	fmt.Fprintf(&rank, "closed=%d", message.Failed.Rank(message.ReasonUndetermined))
	return "local function ranks() return {" + rank.String() + "} end\nlocal LETTER = {" + letter.String() + "}\n"
}

// further are the members of a context that few messages have.
type further struct {
	Ref      string   `json:"ref,omitempty"`
	Tags     []string `json:"tags,omitempty"`
	Callback string   `json:"callback_data,omitempty"`
}

// firstFields are those of a new record, with their values, that Redis need not know; ref names
// its reference. What the scripts of the queue ask for comes first: short hashes are searched
// from the front.
func firstFields(m message.Message, c message.Context, ref string) ([]any, error) {
	rest, err := json.Marshal(further{c.Ref, c.Tags, c.Callback})
	if err != nil {
		return nil, err
	}
	var sendAt string
	if !m.SendAt.IsZero() {
		sendAt = strconv.FormatInt(m.SendAt.UnixMilli(), 10)
	}
	var fields []any
	for _, f := range [...][2]string{
		{"next", sendAt},
		{"pair", pair(m)},
		{"tpl", c.Template},
		{"c", string(c.Class)},
		{"ty", c.Type},
		{"to", c.To},
		{"x", string(rest[1 : len(rest)-1])},
		{"ref", ref},
		{"tl", letters[message.Queued] + "0+0|"},
	} {
		if f[1] != "" {
			fields = append(fields, f[0], f[1])
		}
	}
	return fields, nil
}

// readContext reads the fields c, ty, to, tpl and x.
func readContext(id string, class, kind, to, template, rest string) (message.Context, error) {
	number, _ := message.Number(id)
	c := message.Context{ID: id, From: number, Class: message.Class(class), Type: kind, To: to, Template: template}
	if rest == "" {
		return c, nil
	}
	var f further
	if err := json.Unmarshal([]byte("{"+rest+"}"), &f); err != nil {
		return c, fmt.Errorf("record's context: %w", err)
	}
	c.Ref, c.Tags, c.Callback = f.Ref, f.Tags, f.Callback
	return c, nil
}

// record reads a whole record.
func record(id string, h map[string]string) (message.Record, error) {
	c, err := readContext(id, h["c"], h["ty"], h["to"], h["tpl"], h["x"])
	r := message.Record{
		Context: c, State: message.State(h["st"]), Reason: h["why"], WAMID: longWAMID(h["wamid"]),
		Code: int(number(h["code"])), Attempt: int(number(h["n"])), Task: int(number(h["k"])), Duplicates: int(number(h["dup"])),
		AcceptedAt: at(h["acc"]), ExpiresAt: at(h["exp"]), NextAt: at(h["next"]), Timeline: timeline(h["tl"], at(h["acc"])),
	}
	if r.State == message.Queued && r.Attempt == 0 {
		r.SendAt = r.NextAt
	}
	return r, err
}

func timeline(s string, accepted time.Time) (steps []message.Step) {
	for s := range strings.SplitSeq(strings.TrimSuffix(s, "|"), "|") {
		where, why, _ := strings.Cut(s, ":")
		attempt, after, ok := strings.Cut(where, "+")
		if !ok || attempt == "" {
			continue
		}
		code, reason, _ := strings.Cut(why, ":")
		steps = append(steps, message.Step{
			At: accepted.Add(time.Duration(number(after)) * time.Millisecond), State: stateOf[attempt[:1]],
			Attempt: int(number(attempt[1:])), Code: int(number(code)), Reason: reason,
		})
	}
	return steps
}

// wamidPrefix begins every id that Meta gives. With it an id would not fit into a short field.
const wamidPrefix = "wamid."

// shortWAMID is how records keep Meta's id of a message.
func shortWAMID(wamid string) string { return strings.TrimPrefix(wamid, wamidPrefix) }

// longWAMID reads what shortWAMID wrote.
func longWAMID(short string) string {
	if short == "" {
		return ""
	}
	return wamidPrefix + short
}

// at reads Unix milliseconds; "" and "0" are the zero time.
func at(s string) time.Time {
	if ms := number(s); ms != 0 {
		return time.UnixMilli(ms).UTC()
	}
	return time.Time{}
}
