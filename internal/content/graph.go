package content

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"sluice/internal/message"
)

// metaCodes are Meta's codes for the rules that have other codes than their kind of breach. Meta documents its codes,
// but not which rule has which code. These follow the wording of its error page and published answers.
// https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
var metaCodes = map[string]metaCode{
	// Checked by the Graph API.
	"recipient_missing":       {100, true},
	"recipient_group_missing": {100, true},
	"callback_data_too_long":  {100, true},
	"text_too_long":           {100, true},
	"value_not_allowed":       {100, true},
	"value_missing":           {100, true},
	"content_ambiguous":       {100, true},
	"type_unknown":            {100, true},
	"kind_invalid":            {100, true},
	"member_unexpected":       {100, true},
	"member_not_allowed":      {100, true},
	"caption_not_allowed":     {100, true},
	"template_name_invalid":   {100, true},
	"link_invalid":            {100, true},
	"url_invalid":             {100, true},
	"mark_message_id_empty":   {100, true},
	"mark_ambiguous":          {100, true},
	"ttl_needs_category":      {100, true},
	"ttl_seconds_invalid":     {100, true},

	// Rules with their own codes.
	"product_policy_not_allowed":          {131055, false},
	"template_language_invalid":           {132001, false},
	"template_parameter_too_long":         {132005, false},
	"template_parameter_invalid":          {132018, false},
	"template_parameter_names_mixed":      {132018, false},
	"template_parameter_name_duplicate":   {132018, false},
	"template_header_parameters_too_many": {132000, false},
	"template_button_parameters_too_many": {132000, false},
	"template_button_parameter_invalid":   {132012, false},

	// Rules of messages whose template is known.
	"template_unknown":                       {132001, false},
	"template_language_unknown":              {132001, false},
	"template_not_approved":                  {132001, false},
	"template_paused":                        {132015, false},
	"template_disabled":                      {132016, false},
	"template_recipient_invalid":             {131062, false},
	"template_category_not_marketing":        {134100, false},
	"template_parameter_count":               {132000, false},
	"template_parameter_name_missing":        {132012, false},
	"template_parameter_name_unknown":        {132012, false},
	"template_parameter_name_not_allowed":    {132012, false},
	"template_parameter_kind":                {132012, false},
	"template_header_missing":                {132012, false},
	"template_button_index_unknown":          {132018, false},
	"template_button_sub_type_mismatch":      {132018, false},
	"template_button_parameters_not_allowed": {132018, false},
	"template_card_count":                    {132018, false},
	"template_code_too_long":                 {132018, false},
	"template_code_mismatch":                 {132018, false},
}

type metaCode struct {
	code  int
	plain bool
}

// breachCodes are Meta's codes for each way of breaking a rule. The Graph API answers 100 for the parameters that it
// checks itself, and 131008 and 131009 are for those that WhatsApp checks after it.
var breachCodes = map[Breach]metaCode{Missing: {131008, false}, Malformed: {100, true}, Invalid: {131009, false}}

var breachOf = sync.OnceValue(func() map[string]Breach {
	all := map[string]Breach{}
	for _, r := range rules {
		all[r.Code] = r.Breach
	}
	return all
})

// MetaCode returns the error code with which Meta refuses what breaks a rule, by the code of the rule; 0: there is no
// such rule. plain reports that the Graph API refuses it: then its message has the details.
func MetaCode(rule string) (code int, plain bool) {
	c, own := metaCodes[rule]
	if !own {
		c = breachCodes[breachOf()[rule]]
	}
	return c.code, c.plain
}

var member = regexp.MustCompile(`\.([a-z_0-9]+)`)

// MetaPath returns the path of a member as Meta writes it in errors: text['body'].
func MetaPath(path string) string { return member.ReplaceAllString(path, "['$1']") }

// MetaMessage returns the text of the Graph API about a parameter that it refuses: see the result plain of MetaCode. The path of the
// problem is relative to the message.
func MetaMessage(p message.Problem) string {
	i := strings.LastIndexByte(p.Path, '.')
	switch p.Code {
	case "member_unexpected", "caption_not_allowed", "member_not_allowed":
		if i >= 0 {
			return fmt.Sprintf("Unexpected key %q on param %q.", p.Path[i+1:], MetaPath(p.Path[:i]))
		}
		return fmt.Sprintf("Unexpected key %q.", p.Path)
	case "recipient_missing", "recipient_group_missing", "value_missing":
		return "The parameter " + MetaPath(p.Path) + " is required."
	}
	if p.Path == "" {
		return p.Detail
	}
	return "Param " + MetaPath(p.Path) + ": " + p.Detail
}
