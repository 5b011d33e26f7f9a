package message

import "time"

// Evidence is a receipt with what its marker proved.
type Evidence struct {
	Receipt
	ID       string // our message, when the receipt carried a genuine marker of ours; else empty, and the wamid must do
	Attempt  int    // the attempt the marker named; 0 without one
	Other    bool   // the marker is one of another environment: where no message has the wamid, none will
	Accepted int64  // which record of the id the marker named: Unix milliseconds of its acceptance; 0: it names none

	// What Fold found, when it applied the receipt:
	Template string // of the message
	First    bool   // nothing had been reported of the message before
}

// Folded says what became of a piece of evidence. The set is closed: it is a metric label too.
type Folded string

// What may become of evidence.
const (
	Applied          Folded = "applied"           // the record rose to it
	Repeated         Folded = "repeat"            // the record was exactly there already
	Lower            Folded = "outdated"          // the record has a later state already: receipts come in any order
	Orphan           Folded = "unmatched"         // no record has that wamid yet; kept until one has
	OtherEnvironment Folded = "other_environment" // no record has that wamid, and the marker is one of another environment
	NoRecord         Folded = "no_record"         // the marker is ours, the record's time is over
	Duplicate        Folded = "duplicate"         // it names a second acceptance by Meta: the message went out twice
	UnknownStatus    Folded = "unknown_status"    // a status this version does not know; kept in the stream only
)

// AllFolded returns every value of Folded.
func AllFolded() []Folded {
	return []Folded{Applied, Repeated, Lower, Orphan, OtherEnvironment, NoRecord, Duplicate, UnknownStatus}
}

// LastReceived is when the last webhooks of Meta came. None where some were due means that they do not
// reach us.
type LastReceived struct {
	Any      time.Time            // the last webhook of all
	Statuses map[string]time.Time // by number the last status, by Meta's clock or ours, the earlier
}

// Channel is whether Meta's reports reach us. Silence about a message is evidence only where a report
// would have reached us.
type Channel struct {
	LastWebhook time.Time // when the last webhook came
	LastStatus  time.Time // when Meta made the number's last status
	Reported    bool      // a webhook program has reported at some time
	Programs    int       // webhook programs that live
	Gap         time.Time // the end of the latest time in which a delivery may have been refused or missed; zero: none is known
	Open        time.Time // from Gap up to this time no delivery was refused or missed; zero: not proven
}
