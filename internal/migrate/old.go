package migrate

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// This file has everything about format 1, which older versions of Sluice wrote. In it, a record was a hash:
//
//	st why code n k f rs    state, its reason, Meta's code, attempts, task counter, counted failures, resends
//	own at next             the owner of the attempt, since when; when the next step is due
//	acc exp                 accepted at, deadline
//	c ty to tpl x           message.Context: class, type, masked recipient, template, and its other members as JSON
//	pair ref                hashes of its number and recipient, in hex, and of its reference
//	hash nonce              of the request that created it
//	wamid wamids dup        Meta's id without "wamid."; further ones; how many
//	tl                      the last 20 steps: "<letter><attempt>+<ms since acc>[:<code>:<reason>]|"
//
// Times are Unix milliseconds. Zero and empty values were not stored.

// The keys of format 1, by what follows the shard: prefixes of keys for each message, recipient or status, and whole
// names.
const (
	recordPrefix    = "m:"    // hash
	payloadPrefix   = "p:"    // string: Meta's message object
	wamidPrefix     = "w:"    // string: our id, by Meta's
	unmatchedPrefix = "o:"    // list of events, by Meta's id: statuses whose message is not known
	pairPrefix      = "pair:" // string: when a recipient may get the next message
	refPrefix       = "r:"    // sorted set: the second parts of ids, by when their records end

	oldStream   = "events"
	oldGroup    = "reconcile" // the consumer group of oldStream that applied Meta's statuses
	oldField    = "event"     // of an entry of oldStream; its value is an event as JSON
	oldAttempts = "attempts"
	oldSent     = "submitted"
	oldGaps     = "events:gaps"
	oldReaders  = "readers:" + oldGroup
)

// unmatchedLife is how long a status waited for its message.
const unmatchedLife = 24 * time.Hour

// wamids begin with this prefix, which records of format 1 leave out.
const wamidStart = "wamid."

// splitKey returns the shard of a key of Sluice, and what follows it.
func splitKey(key string) (s message.Shard, rest string, ok bool) {
	tag, rest, ok := strings.Cut(strings.TrimPrefix(key, "sluice:{s"), "}:")
	n, err := strconv.Atoi(tag)
	s = message.Shard(n)
	return s, rest, ok && err == nil && store.Key(s, rest) == key
}

var errNoRecord = errors.New("not a record of format 1")

// read reads a record of format 1.
func read(id string, h map[string]string, payload string) (record.Record, error) {
	var r record.Record
	number, ok := message.Number(id)
	if !ok || message.State(h["st"]).Letter() == 0 || h["acc"] == "" || h["exp"] == "" {
		return r, fmt.Errorf("%s: %w", id, errNoRecord)
	}
	var x struct {
		Ref      string   `json:"ref"`
		Tags     []string `json:"tags"`
		Callback string   `json:"callback_data"`
	}
	if err := json.Unmarshal([]byte("{"+h["x"]+"}"), &x); err != nil {
		return r, fmt.Errorf("%s: %w: its context: %w", id, errNoRecord, err)
	}
	recipient, err := hex.DecodeString(h["pair"])
	if err != nil {
		return r, fmt.Errorf("%s: %w: its recipient: %w", id, errNoRecord, err)
	}
	var n numbers
	accepted := n.moment(h["acc"])
	r = record.Record{
		Record: message.Record{
			Context: message.Context{
				ID: id, From: number, Class: message.Class(h["c"]), Type: h["ty"], To: h["to"], Template: h["tpl"],
				Ref: x.Ref, Tags: x.Tags, Callback: x.Callback,
			},
			State: message.State(h["st"]), Reason: h["why"], Code: n.count(h["code"]), Attempt: n.count(h["n"]), Task: n.count(h["k"]),
			AcceptedAt: accepted, ExpiresAt: n.moment(h["exp"]), NextAt: n.moment(h["next"]), Duplicates: n.count(h["dup"]),
			Timeline: n.timeline(h["tl"], accepted),
		},
		Hash: h["hash"], Token: h["own"], Failures: n.count(h["f"]), Resends: n.count(h["rs"]),
		Recipient: string(recipient), Payload: payload,
	}
	if h["wamid"] != "" {
		r.WAMID = wamidStart + h["wamid"]
	}
	for other := range strings.FieldsSeq(h["wamids"]) {
		r.Others = append(r.Others, wamidStart+other)
	}
	if n.err != nil {
		return r, fmt.Errorf("%s: %w: %w", id, errNoRecord, n.err)
	}
	return r, nil
}

// numbers parses numbers, and keeps the first error.
type numbers struct{ err error }

func (n *numbers) read(s string) int64 {
	if s == "" {
		return 0
	}
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil && n.err == nil {
		n.err = err
	}
	return v
}

func (n *numbers) count(s string) int { return int(n.read(s)) }

func (n *numbers) moment(s string) time.Time {
	if ms := n.read(s); ms != 0 {
		return time.UnixMilli(ms).UTC()
	}
	return time.Time{}
}

func (n *numbers) timeline(s string, accepted time.Time) (steps []message.Step) {
	for step := range strings.SplitSeq(strings.TrimSuffix(s, "|"), "|") {
		where, why, _ := strings.Cut(step, ":")
		attempt, after, ok := strings.Cut(where, "+")
		if !ok || attempt == "" {
			continue
		}
		code, reason, _ := strings.Cut(why, ":")
		steps = append(steps, message.Step{
			At: accepted.Add(time.Duration(n.read(after)) * time.Millisecond), State: message.StateOf(attempt[0]),
			Attempt: n.count(attempt[1:]), Code: n.count(code), Reason: reason,
		})
	}
	return steps
}
