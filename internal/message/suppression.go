package message

import (
	"regexp"
	"strings"
	"time"
)

// Suppression is an entry of a suppression list: a person who gets no messages of some classes from a client.
type Suppression struct {
	Client    string            // whose list it is; empty: that of the numbers without a client
	Recipient string            // a phone number with its plus, or a user id; masked, unless the whole one was asked for
	Source    SuppressionSource // how the person came into the list
	Reason    string            // why, in the words of who added the person; empty: not given
	By        string            // the name of the API key that added the person; empty: none did
	Number    string            // the phone number id that the person wrote to, or that a report of Meta was about; empty: none
	At        time.Time         // when the person opted out
	Ended     bool              // the person opted in again, at At
}

// SuppressionSource is how a person came into a suppression list, or left it.
type SuppressionSource string

// The sources.
const (
	SuppressedByWord       SuppressionSource = "keyword"          // the person wrote a stop word
	SuppressedByPreference SuppressionSource = "user_preferences" // the person changed the setting in WhatsApp, and Meta reported it
	SuppressedByError      SuppressionSource = "meta_error"       // Meta failed a message with the code 131050
	SuppressedByAPI        SuppressionSource = "api"              // a request to the API
	SuppressedByImport     SuppressionSource = "import"           // an import
)

// Says returns the source in words, as a sentence without its full stop.
func (s Suppression) Says() string {
	switch s.Source {
	case SuppressedByWord:
		return "The person wrote a stop word to the phone number id " + s.Number
	case SuppressedByPreference:
		return "Meta reported that the person stopped marketing messages in WhatsApp"
	case SuppressedByError:
		return "Meta reported with the code 131050 that the person stopped marketing messages"
	}
	text := "The API key " + s.By + " added the person"
	if s.Source == SuppressedByImport {
		text = "An import with the API key " + s.By + " added the person"
	}
	if s.Reason != "" {
		text += " (" + s.Reason + ")"
	}
	return text
}

// SuppressionOrder is an order to add a person to a suppression list, or to remove one. The recipient is a phone number with its plus, or a
// user id.
type SuppressionOrder struct {
	Recipient string
	Source    SuppressionSource
	Reason    string
	By        string    // the name of the API key
	At        time.Time // when the person said so; zero: now
}

// SuppressionChange is what became of a change of a suppression list.
type SuppressionChange struct {
	Before bool // the person had opted out before
	Stored bool // false: something later is stored
}

// Preference is what an event of Meta says about whether a person wants marketing messages of a number.
type Preference struct {
	Who    Identities
	Source SuppressionSource
	Stop   bool      // the person wants none; not with Said
	Said   []string  // with SuppressedByWord: the texts of the message, of which one may be a stop or a start word
	At     time.Time // by Meta
}

var recipientForm = regexp.MustCompile(`^(\+?[1-9][0-9]{5,14}|[A-Z]{2}(\.ENT)?\.[A-Za-z0-9]{1,128})$`)

// Recipient returns a recipient that a person wrote, without spaces, hyphens and brackets: a phone number with its plus, or a
// business-scoped user id. It is false for a text that is neither.
func Recipient(text string) (string, bool) {
	text = strings.NewReplacer(" ", "", "-", "", "(", "", ")", "").Replace(text)
	if !recipientForm.MatchString(text) {
		return "", false
	}
	if text[0] >= '1' && text[0] <= '9' {
		text = "+" + text
	}
	return text, true
}
