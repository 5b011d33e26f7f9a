package graphsim

import (
	"encoding/base64"
	"encoding/binary"
	"hash/maphash"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
)

// Accepted is one message that the simulator accepted.
type Accepted struct {
	Number string `json:"number"`           // phone number id of the sender
	Marker string `json:"marker,omitempty"` // biz_opaque_callback_data as received
	WAMID  string `json:"wamid"`
	Type   string `json:"type"`
	To     string `json:"to"` // digits of the recipient, or another id as received
	// Version is the version of the Graph API that the request named, and Marketing that it came to the Marketing Messages API.
	Version   string    `json:"graph_version"`
	Marketing bool      `json:"marketing,omitempty"`
	Start     time.Time `json:"start"`        // arrival of the request
	End       time.Time `json:"end,omitzero"` // when it was answered or its connection ended; zero: still open
	// Reported is when the first webhook was sent that reports the message as sent, delivered or read, whatever
	// its answer; zero: none was sent.
	Reported time.Time `json:"reported,omitzero"`
}

// ledger has every accepted message, in less than 200 bytes each: what can be computed or
// shared is not stored.
type ledger struct {
	epoch time.Time // makes the wamids of two runs of a simulator different

	mu       sync.Mutex
	first    int // serial of entries[0]; a reset does not restart serials, so that each wamid is used once
	entries  []entry
	names    []string // numbers and types by index
	index    map[string]uint32
	ids      map[uint64]struct{} // hashes of the accepted message ids
	repeated map[uint64]struct{} // hashes of those accepted more than once
	seed     maphash.Seed
}

type entry struct {
	data        string // marker, then recipient
	start       int64  // Unix nanoseconds
	took        int64  // nanoseconds; -1: still open
	firstReport int64  // nanoseconds from start to its first report; 0: none was sent
	marker      uint16 // length of the marker
	number      uint32 // index into names
	kind        uint32 // index into names
	version     uint32 // index into names
	marketing   bool
}

func newLedger(epoch time.Time) *ledger {
	l := &ledger{epoch: epoch, index: map[string]uint32{}, seed: maphash.MakeSeed()}
	l.reset()
	return l
}

// add records a message and returns its serial and wamid.
func (l *ledger) add(number string, m request, start time.Time) (serial int, wamid string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, entry{
		data:    m.Marker + m.recipient,
		start:   start.UnixNano(),
		took:    -1,
		marker:  uint16(len(m.Marker)),
		number:  l.name(number),
		kind:    l.name(m.Type),
		version: l.name(m.version), marketing: m.marketing,
	})
	if id, ok := markedID(m.Marker); ok {
		h := maphash.String(l.seed, id)
		if _, seen := l.ids[h]; seen {
			l.repeated[h] = struct{}{}
		}
		l.ids[h] = struct{}{}
	}
	serial = l.first + len(l.entries) - 1
	return serial, l.wamid(serial)
}

// closed records when the call of a message ended.
func (l *ledger) closed(serial int, at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := serial - l.first; i >= 0 {
		e := &l.entries[i]
		e.took = at.UnixNano() - e.start
	}
}

// reported records that a report of a message is sent.
func (l *ledger) reported(wamid string, at time.Time) {
	text, ok := strings.CutPrefix(wamid, "wamid.")
	b, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(b) != 12 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := int(binary.BigEndian.Uint32(b[8:])) - l.first
	if i < 0 || i >= len(l.entries) {
		return
	}
	if e := &l.entries[i]; e.firstReport == 0 {
		e.firstReport = max(at.UnixNano()-e.start, 1)
	}
}

// all yields every entry, oldest first. It holds no lock while the caller reads, and ends
// early if the ledger is emptied in the meantime.
func (l *ledger) all() iter.Seq[Accepted] {
	l.mu.Lock()
	serial := l.first
	l.mu.Unlock()
	return func(yield func(Accepted) bool) {
		for ; ; serial++ {
			if a, ok := l.at(serial); !ok || !yield(a) {
				return
			}
		}
	}
}

func (l *ledger) at(serial int) (Accepted, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := serial - l.first
	if i < 0 || i >= len(l.entries) {
		return Accepted{}, false
	}
	e := l.entries[i]
	a := Accepted{
		Number:  l.names[e.number],
		Marker:  e.data[:e.marker],
		WAMID:   l.wamid(serial),
		Type:    l.names[e.kind],
		To:      e.data[e.marker:],
		Version: l.names[e.version], Marketing: e.marketing,
		Start: time.Unix(0, e.start).UTC(),
	}
	if e.took >= 0 {
		a.End = time.Unix(0, e.start+e.took).UTC()
	}
	if e.firstReport > 0 {
		a.Reported = time.Unix(0, e.start+e.firstReport).UTC()
	}
	return a, true
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.entries)
}

func (l *ledger) duplicates() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.repeated)
}

func (l *ledger) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first += len(l.entries)
	l.entries = nil
	l.ids, l.repeated = map[uint64]struct{}{}, map[uint64]struct{}{}
}

// name returns the index of a word that many entries share.
func (l *ledger) name(word string) uint32 {
	i, ok := l.index[word]
	if !ok {
		i = uint32(len(l.names))
		word = strings.Clone(word)
		l.names, l.index[word] = append(l.names, word), i
	}
	return i
}

func (l *ledger) wamid(serial int) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(l.epoch.UnixNano()))
	return "wamid." + base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(b, uint32(serial)))
}

// markedID returns the message id in a marker of the form sl1.<env>.<id>.<attempt>.<mac>.
func markedID(marker string) (string, bool) {
	parts := strings.Split(marker, ".")
	if len(parts) != 5 || parts[0] != "sl1" || slices.Contains(parts, "") {
		return "", false
	}
	return parts[2], true
}
