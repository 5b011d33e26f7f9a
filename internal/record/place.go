package record

import (
	"strconv"
	"strings"
	"time"

	"sluice/internal/message"
)

// Place is where a message stands in the lists of a store. It follows from the record alone, so a
// list holds exactly those whom it should.
type Place struct {
	List   message.List
	Score  int64 // Unix milliseconds; what the list is ordered by
	Member string
}

// pacedFor is how long a message that Meta holds while it watches a template counts as one whose report is
// not due: Meta says that it decides within about an hour.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/templates/template-pacing
const pacedFor = 24 * time.Hour

// Place returns the place of the message; the zero value when it is in no list, as a tombstone.
func (r *Record) Place() Place {
	if r.Tombstone() {
		return Place{}
	}
	p := Place{List: r.State.List(), Member: r.ID}
	switch p.List {
	case message.NoList:
		return Place{}
	case message.Waiting:
		p.Score = r.ExpiresAt.UnixMilli()
	case message.Doubts:
		p.Score = r.NextAt.UnixMilli()
	case message.Awaiting:
		p.Score = r.Since().UnixMilli()
		if r.Reason == message.ReasonQuality || r.Reason == message.ReasonPaused {
			p.Score += pacedFor.Milliseconds()
		}
	case message.Graves:
		p.Member = strconv.Itoa(r.Code) + ":" + r.Reason + ":" + r.ID
		fallthrough
	default:
		p.Score = r.Since().UnixMilli()
	}
	return p
}

// DeadLetter reads the code, the reason and the id that the member of a dead letter holds, so that
// dead letters can be counted without their records.
func DeadLetter(member string) (code int, reason, id string, ok bool) {
	first, last := strings.IndexByte(member, ':'), strings.LastIndexByte(member, ':')
	if first == last {
		return 0, "", "", false
	}
	code, err := strconv.Atoi(member[:first])
	return code, member[first+1 : last], member[last+1:], err == nil
}

// Awaited returns Meta's ids of a message of which Meta may report something new: reports that do not
// carry our marker find the message by them. They do not find a tombstone.
func (r *Record) Awaited() []string {
	if r.State == message.Read || r.State == message.Played || r.Tombstone() {
		return nil
	}
	return r.WAMIDs()
}
