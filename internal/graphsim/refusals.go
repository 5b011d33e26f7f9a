package graphsim

import (
	"fmt"
	"regexp"

	"sluice/internal/content"
	"sluice/internal/message"
)

// wrong is why a message is refused: a Graph error code, and details.
type wrong struct {
	code    int
	plain   bool // an error of the Graph API's own check of parameters, whose message has the details, without error_data
	details string
}

// refusal is Meta's answer to a breach of one of Sluice's rules.
type refusal struct {
	code   int  // Graph error code; 0: Meta accepts the message
	plain  bool // see wrong
	failed int  // Meta later reports the message as failed with this code; 0: it does not
}

// byBreach is Meta's answer to each way of breaking a rule. The Graph API answers 100 for the parameters that it
// checks itself, and 131008 and 131009 for those that WhatsApp checks after it:
// https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
var byBreach = map[content.Breach]refusal{
	content.Missing:   {code: 131008},
	content.Malformed: {code: 100, plain: true},
	content.Invalid:   {code: 131009},
}

// byRule is Meta's answer to rules with other codes. Meta documents its codes, but not which rule
// has which code. These follow the wording of its error page and published answers.
var byRule = map[string]refusal{
	// Meta accepts these. Sluice refuses them, because the message would fail or go to another recipient.
	"recipient_needs_plus": {}, // Meta adds the country code of the sender
	"recipient_ambiguous":  {}, // Meta uses to
	"member_spelling":      {}, // Meta ignores the member
	"link_host_forbidden":  {failed: 131053},
	"link_port_invalid":    {failed: 131053},
	"link_too_long":        {failed: 131053},
	"link_userinfo":        {failed: 131053},
	"link_scheme":          {failed: 131053},

	// Checked by the Graph API.
	"recipient_missing":       {code: 100, plain: true},
	"recipient_group_missing": {code: 100, plain: true},
	"callback_data_too_long":  {code: 100, plain: true},
	"text_too_long":           {code: 100, plain: true},
	"value_not_allowed":       {code: 100, plain: true},
	"value_missing":           {code: 100, plain: true},
	"content_ambiguous":       {code: 100, plain: true},
	"template_name_invalid":   {code: 100, plain: true},
	"link_invalid":            {code: 100, plain: true},
	"url_invalid":             {code: 100, plain: true},
	"mark_message_id_empty":   {code: 100, plain: true},
	"mark_ambiguous":          {code: 100, plain: true},
	"ttl_needs_category":      {code: 100, plain: true},
	"ttl_seconds_invalid":     {code: 100, plain: true},

	// Rules with their own codes.
	"type_unknown":                        {code: 100, plain: true},
	"template_language_invalid":           {code: 132001},
	"template_parameter_too_long":         {code: 132005},
	"template_parameter_invalid":          {code: 132018},
	"template_parameter_names_mixed":      {code: 132018},
	"template_parameter_name_duplicate":   {code: 132018},
	"template_header_parameters_too_many": {code: 132000},
	"template_button_parameters_too_many": {code: 132000},
	"template_button_parameter_invalid":   {code: 132012},
}

// breaches has the kind of breach of each rule.
var breaches = func() map[string]content.Breach {
	all := map[string]content.Breach{}
	for _, r := range content.Rules() {
		all[r.Code] = r.Breach
	}
	return all
}()

func refusalFor(code string) refusal {
	if r, ok := byRule[code]; ok {
		return r
	}
	return byBreach[breaches[code]]
}

// verdict returns Meta's answer to problems, or nil if Meta accepts the message.
func (m *request) verdict(problems []message.Problem) *wrong {
	for _, p := range problems {
		r := refusalFor(p.Code)
		if p.Code == "type_unknown" {
			return &wrong{r.code, r.plain, fmt.Sprintf("Param type must be one of {%s} - got %q.", knownTypes, m.Type)}
		}
		if r.code != 0 {
			return &wrong{r.code, r.plain, "Param " + metaPath(p.Path) + ": " + p.Detail}
		}
		m.failed = r.failed
	}
	return nil
}

// knownTypes are the types of messages, as Meta's answer to another one lists them.
const knownTypes = "AUDIO, CONTACTS, DOCUMENT, IMAGE, INTERACTIVE, LOCATION, PIN, REACTION, STICKER, TEMPLATE, TEXT, VIDEO"

var member = regexp.MustCompile(`\.([a-z_0-9]+)`)

// metaPath returns a path as Meta writes it: text['body'].
func metaPath(path string) string {
	path = member.ReplaceAllString(path, "['$1']")
	if path == "" {
		return "body"
	}
	return path
}
