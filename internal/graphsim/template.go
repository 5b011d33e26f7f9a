package graphsim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
)

// Template is a message template as Meta stores it.
type Template struct {
	ID         string            `json:"id"` // empty: made from name and language
	Name       string            `json:"name"`
	Language   string            `json:"language"`         // empty: "en_US"
	Category   string            `json:"category"`         // empty: "UTILITY"
	Status     string            `json:"status"`           // empty: "APPROVED"; with other statuses its messages are refused
	Quality    string            `json:"quality_score"`    // empty: "UNKNOWN", as for a new template
	Rejected   string            `json:"rejected_reason"`  // empty: "NONE", or "INVALID_FORMAT" for a rejected template
	Format     string            `json:"parameter_format"` // empty: "POSITIONAL"; "NAMED" for {{first_name}}
	MaxPrice   bool              `json:"max_price"`        // it has a maximum price: refused with 131061 on /messages
	Components []json.RawMessage `json:"components"`       // as Meta's templates have them; null: any parameters are valid
	Paced      bool              `json:"paced"`            // Meta assesses its quality: it accepts its messages and holds them back until this ends
}

const defaultLanguage = "en_US"

// key returns the key of the template in a registry.
func (t Template) key() string { return t.Name + "/" + t.Language }

// sheet is a template that is prepared for the check of messages.
type sheet struct {
	Template
	parts []part
}

// part has those members of a template's component that messages must match.
type part struct {
	Type    string `json:"type"`   // HEADER, BODY, FOOTER, BUTTONS, CAROUSEL, LIMITED_TIME_OFFER
	Format  string `json:"format"` // of a header: TEXT, IMAGE, VIDEO, DOCUMENT, LOCATION, PRODUCT
	Text    string `json:"text"`
	Buttons []struct {
		Type string `json:"type"`
		URL  string `json:"url"`
	} `json:"buttons"`
	Cards []struct {
		Components []part `json:"components"`
	} `json:"cards"`
}

// newSheet sets the defaults of a template and reads its components.
func newSheet(t *Template) (*sheet, error) {
	if t.Name == "" {
		return nil, errors.New("has no name")
	}
	t.Language = cmp.Or(t.Language, defaultLanguage)
	t.Category = cmp.Or(t.Category, "UTILITY")
	t.Status = cmp.Or(t.Status, "APPROVED")
	t.Quality = cmp.Or(t.Quality, "UNKNOWN")
	t.Format = cmp.Or(t.Format, "POSITIONAL")
	if t.Status == "REJECTED" {
		t.Rejected = cmp.Or(t.Rejected, "INVALID_FORMAT")
	}
	t.Rejected = cmp.Or(t.Rejected, "NONE")
	t.ID = cmp.Or(t.ID, numberOf(t.key()))
	s := &sheet{Template: *t}
	for i, raw := range t.Components {
		var p part
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, fmt.Errorf("components[%d]: %w", i, err)
		}
		s.parts = append(s.parts, p)
	}
	return s, nil
}

// numberOf makes an id like Meta's, 15 digits, from a name.
func numberOf(name string) string {
	h := fnv.New64a()
	h.Write([]byte(name))
	return fmt.Sprint(100_000_000_000_000 + h.Sum64()%900_000_000_000_000)
}
