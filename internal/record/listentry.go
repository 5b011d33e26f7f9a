package record

import (
	"strconv"
	"strings"
	"time"

	"sluice/internal/message"
)

// ListEntry is the entry of a message in the lists of a store. It depends on the record alone, so each list
// has exactly the messages that belong to it.
type ListEntry struct {
	List   message.List
	Score  int64 // Unix milliseconds; the list is ordered by it
	Member string
}

// pacedFor is how long the status of a message is not yet due while Meta watches its template: Meta decides
// within about an hour.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/template-pacing
const pacedFor = 24 * time.Hour

// ListEntry returns the entry of the message; the zero value when it is in no list, like a tombstone.
func (r *Record) ListEntry() ListEntry {
	if r.Tombstone() {
		return ListEntry{}
	}
	p := ListEntry{List: r.State.List(), Member: r.ID}
	if r.Moving() {
		p.List = message.ListMoving
	}
	switch p.List {
	case message.NoList:
		return ListEntry{}
	case message.ListWaiting:
		p.Score = r.ExpiresAt.UnixMilli()
		if r.Waits() && !r.After.Not { // else its time does not end it
			p.Score = r.NextAt.UnixMilli()
		}
	case message.ListInDoubt:
		p.Score = r.NextAt.UnixMilli()
	case message.ListAwaiting:
		p.Score = r.Since().UnixMilli()
		if r.Reason == message.ReasonQuality || r.Reason == message.ReasonPaused {
			p.Score += pacedFor.Milliseconds()
		}
	case message.ListDead:
		p.Member = strconv.Itoa(r.Code) + ":" + r.Reason + ":" + r.ID
		fallthrough
	default:
		p.Score = r.Since().UnixMilli()
	}
	return p
}

// DeadLetter reads the code, the reason and the id from the list member of a dead letter, so that dead letters
// can be counted without their records.
func DeadLetter(member string) (code int, reason, id string, ok bool) {
	first, last := strings.IndexByte(member, ':'), strings.LastIndexByte(member, ':')
	if first == last {
		return 0, "", "", false
	}
	code, err := strconv.Atoi(member[:first])
	return code, member[first+1 : last], member[last+1:], err == nil
}

// IndexedWAMIDs returns Meta's ids of a message for which Meta may still report a new status. A status without
// a marker finds the message by them. It does not find a tombstone.
func (r *Record) IndexedWAMIDs() []string {
	if r.State == message.Read || r.State == message.Played || r.Tombstone() {
		return nil
	}
	return r.WAMIDs()
}
