package content

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// Rules of messages whose template is known. Meta, Cloud API, "Error codes" and "Message templates".
var (
	templateUnknown      = declaredRule(Invalid, "template_unknown", "The WhatsApp Business Account of the number has no template of this name.", "Correct the name, or create the template and wait for its approval.")
	templateLanguage     = declaredRule(Invalid, "template_language_unknown", "The template does not exist in this language.", "Give a language that the template has, or add a translation and wait for its approval.")
	templatePaused       = declaredRule(Invalid, "template_paused", "Meta has paused the template because of its quality.", "Wait until Meta ends the pause, or use another template.")
	templateDisabled     = declaredRule(Invalid, "template_disabled", "Meta has disabled the template because of its quality.", "Use another template.")
	templateNotApproved  = declaredRule(Invalid, "template_not_approved", "The template is not approved.", "Wait for the approval in the WhatsApp Manager, or use another template.")
	templateToUser       = declaredRule(Invalid, "template_recipient_invalid", "Meta sends authentication templates to phone numbers only.", "Give the phone number of the recipient in to.")
	templateNoMarketing  = declaredRule(Invalid, "template_category_not_marketing", "The Marketing Messages API sends templates of the category MARKETING only.", "Remove product_policy, or use the path messages; or give a template of the category MARKETING.")
	templateCount        = declaredRule(Invalid, "template_parameter_count", "The component has another number of parameters than the template.", "Give one parameter for each variable of the template.")
	templateNameMissing  = declaredRule(Invalid, "template_parameter_name_missing", "The parameters of this template have names.", "Give each parameter its parameter_name.")
	templateNameUnknown  = declaredRule(Invalid, "template_parameter_name_unknown", "The template has no variable of this name.", "Use the names of the template's variables.")
	templatePositions    = declaredRule(Invalid, "template_parameter_name_not_allowed", "The parameters of this template have positions, not names.", "Remove parameter_name, and give the parameters in their order.")
	templateKind         = declaredRule(Invalid, "template_parameter_kind", "The parameter has another type than the template needs.", "Give the type that the template has.")
	templateHeader       = declaredRule(Missing, "template_header_missing", "The template has media or a location in its header, and the message has none.", "Add a component of type header with one parameter.")
	templateOffer        = declaredRule(Missing, "template_offer_component_missing", "The template is a limited-time offer, and the message does not say when it ends.", "Add a component of type limited_time_offer.")
	templateNoButton     = declaredRule(Invalid, "template_button_index_unknown", "The template has no button at this index.", "Count the template's buttons from 0.")
	templateButtonKind   = declaredRule(Invalid, "template_button_sub_type_mismatch", "The template's button at this index is of another type.", "Give the sub_type of the template's button, or another index.")
	templateButtonFixed  = declaredRule(Invalid, "template_button_parameters_not_allowed", "The URL of this button has no variable.", "Remove the button from the message.")
	templateButtonNeeded = declaredRule(Missing, "template_button_missing", "A button of the template needs a parameter, and the message has none.", "Add a component of type button with its index, its sub_type and one parameter.")
	templateCardCount    = declaredRule(Invalid, "template_card_count", "The message has another number of cards than the template.", "Give one card for each card of the template.")
	templateCodeLong     = declaredRule(Invalid, "template_code_too_long", "The code of an authentication template has at most 15 characters.", "Shorten the code to 15 characters.")
	templateCodeOther    = declaredRule(Invalid, "template_code_mismatch", "The code of an authentication template is the same in the body and in the button.", "Give the button the code of the body.")
)

// declaredRule makes a rule that only a message with a known template can break.
func declaredRule(b Breach, code, detail, fix string) *Rule {
	r := rule(b, code, detail, fix)
	rules[len(rules)-1].Declared = true
	return r
}

// mostCode is the maximum length of the code of an authentication template, in characters. Meta, Cloud API,
// "Authentication templates".
const mostCode = 15

// NoTemplate returns the problem of a template message whose account has no such template. languages are those in which it
// has one of this name; none: it has no template of this name.
func NoTemplate(object jsondoc.Value, languages []string) []message.Problem {
	return inspect(object, func(root node) {
		t := root.get("template")
		if len(languages) == 0 {
			t.get("name").refuse(templateUnknown)
			return
		}
		t.get("language").get("code").refuseAs(templateLanguage, "The template does not exist in this language. It exists in "+list(languages)+".", templateLanguage.Fix)
	})
}

// CheckTemplate checks a template message that Check has passed against Meta's description of its template. The paths of the
// problems are relative to the object.
func CheckTemplate(object jsondoc.Value, t *message.Template) []message.Problem {
	return inspect(object, func(root node) { root.checkDeclared(t) })
}

func (n node) checkDeclared(t *message.Template) {
	content := n.get("template")
	if !t.Sendable() {
		r := templateNotApproved
		switch t.Status {
		case "PAUSED":
			r = templatePaused
		case "DISABLED":
			r = templateDisabled
		}
		content.get("name").refuseAs(r, r.Detail+" Its status is "+t.Status+".", r.Fix)
		return
	}
	authentication := t.Category == "AUTHENTICATION"
	if authentication && !n.get("to").present() && n.get("recipient").present() {
		n.get("recipient").refuse(templateToUser)
	}
	if policy := n.get("product_policy"); policy.present() && t.Category != "" && t.Category != "MARKETING" {
		policy.refuseAs(templateNoMarketing, templateNoMarketing.Detail+" The category of this one is "+t.Category+".", templateNoMarketing.Fix)
	}
	if t.Parts == nil {
		return
	}
	d := declared{named: t.Named}
	d.check(content, t.Parts)
	if authentication {
		d.checkCode()
	}
}

// IsUnsendable reports whether problems of CheckTemplate are that Meta does not send messages of the template now.
func IsUnsendable(problems []message.Problem) bool {
	return len(problems) == 1 && slices.Contains([]string{templatePaused.Code, templateDisabled.Code, templateNotApproved.Code}, problems[0].Code)
}

// declared compares components with those of a template.
type declared struct {
	named bool
	codes []node // the texts of the body's parameters, and of the buttons' that have one
}

// check compares the components of a template message, or of a card, with its parts.
func (d *declared) check(content node, p *message.TemplateParts) {
	components := content.get("components")
	var header, body, offer, cards bool
	var buttons [10]bool // which have parameters
	for _, c := range components.objects() {
		parameters := c.get("parameters")
		switch strings.ToLower(c.get("type").bare()) {
		case "header":
			header = true
			d.checkHeader(parameters, p)
		case "body":
			body = true
			d.checkTexts(parameters, parameters.objects(), p.Body, "body")
			for _, parameter := range parameters.objects() {
				d.codes = append(d.codes, parameter.get("text"))
			}
		case "limited_time_offer":
			offer = true
		case "carousel":
			cards = true
			d.checkCards(c.get("cards"), p)
		case "button":
			d.checkButton(c, p, &buttons)
		}
	}
	if !header {
		d.checkHeader(components.absent(), p)
	}
	if !body {
		d.checkTexts(components, components.absent().objects(), p.Body, "body")
	}
	if !offer && p.Offer {
		components.refuse(templateOffer)
	}
	if !cards {
		d.checkCards(components.absent(), p)
	}
	for i, b := range p.Buttons {
		if i < len(buttons) && !buttons[i] && b.NeedsParameter() {
			components.refuseAs(templateButtonNeeded, fmt.Sprintf("The template's button at index %d, of type %s, needs a parameter, and the message has none.", i, b.Type), templateButtonNeeded.Fix)
		}
	}
}

// absent returns a node at the same place that has no value.
func (n node) absent() node { return node{path: n.path, report: n.report} }

// headerKinds are the types of the parameter of a header by the template's format. Of other formats Meta decides.
var headerKinds = map[string]string{"IMAGE": "image", "VIDEO": "video", "DOCUMENT": "document", "LOCATION": "location", "PRODUCT": "product"}

func (d *declared) checkHeader(parameters node, p *message.TemplateParts) {
	if p.Header == "" || p.Header == "TEXT" {
		d.checkTexts(parameters, parameters.objects(), p.HeaderNames, "header")
		return
	}
	want := headerKinds[p.Header]
	if length, _ := parameters.length(); length == 0 && want != "" {
		parameters.refuse(templateHeader)
	}
	for _, parameter := range parameters.objects() {
		if want != "" && !strings.EqualFold(parameter.get("type").bare(), want) {
			parameter.get("type").refuseAs(templateKind, "The template's header takes a parameter of the type "+want+".", templateKind.Fix)
		}
	}
}

// textKinds are the types of parameters that stand for a variable in a text.
var textKinds = []string{"text", "currency", "date_time"}

// checkTexts compares parameters with the names of the variables in a text. at is the place of a problem with their number.
func (d *declared) checkTexts(at node, parameters iter.Seq2[int, node], names []string, what string) {
	count := 0
	for _, parameter := range parameters {
		count++
		kind, name := parameter.get("type"), parameter.get("parameter_name")
		switch {
		case !slices.Contains(textKinds, strings.ToLower(kind.bare())):
			if strings.EqualFold(kind.bare(), "tap_target_configuration") { // it is of the whole message
				count--
				continue
			}
			kind.refuseAs(templateKind, "A variable in the template's "+what+" takes a parameter of the type "+list(textKinds)+".", templateKind.Fix)
		case !d.named && name.present():
			name.refuse(templatePositions)
		case d.named && !name.present():
			parameter.refuse(templateNameMissing)
		case d.named && !slices.Contains(names, name.bare()):
			name.refuseAs(templateNameUnknown, "The template's "+what+" has no variable of this name."+namesOf(names), templateNameUnknown.Fix)
		}
	}
	if count != len(names) {
		at.refuseAs(templateCount, fmt.Sprintf("The template's %s has %d variables; the message has %d parameters for it.", what, len(names), count), templateCount.Fix)
	}
}

// namesOf lists the names of variables, for people.
func namesOf(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " It has " + list(names) + "."
}

// buttonTypes are the types of a template's button for each sub_type of a message. Of other sub_types Meta decides.
var buttonTypes = map[string][]string{
	"quick_reply": {"QUICK_REPLY"}, "url": {"URL", "OTP"}, "copy_code": {"COPY_CODE", "OTP"}, "flow": {"FLOW"},
	"catalog": {"CATALOG"}, "mpm": {"MPM"}, "order_details": {"ORDER_DETAILS"}, "voice_call": {"VOICE_CALL"},
}

func (d *declared) checkButton(c node, p *message.TemplateParts, given *[10]bool) {
	index := c.get("index")
	i, err := strconv.Atoi(index.numeral())
	if err != nil || i < 0 || i >= len(given) { // Check lets a call button have no index
		return
	}
	if i >= len(p.Buttons) {
		index.refuseAs(templateNoButton, fmt.Sprintf("The template has %d buttons; there is none at this index.", len(p.Buttons)), templateNoButton.Fix)
		return
	}
	parameters, button := c.get("parameters"), p.Buttons[i]
	length, _ := parameters.length()
	given[i] = length > 0
	types := buttonTypes[strings.ToLower(c.get("sub_type").bare())]
	switch {
	case types != nil && !slices.Contains(types, button.Type) && slices.Contains(knownButtons, button.Type):
		c.get("sub_type").refuseAs(templateButtonKind, "The template's button at this index is of type "+button.Type+".", templateButtonKind.Fix)
	case button.Type == "URL" && !button.Variable && length > 0:
		parameters.refuse(templateButtonFixed)
	case button.Type == "OTP":
		for _, parameter := range parameters.objects() {
			if text := parameter.get("text"); text.present() {
				d.codes = append(d.codes, text)
			}
		}
	}
}

// knownButtons are the types of buttons that a sub_type belongs to, and those that take no parameters.
var knownButtons = []string{"QUICK_REPLY", "URL", "OTP", "COPY_CODE", "FLOW", "CATALOG", "MPM", "ORDER_DETAILS", "VOICE_CALL", "PHONE_NUMBER"}

func (d *declared) checkCards(cards node, p *message.TemplateParts) {
	if length, _ := cards.length(); length != len(p.Cards) {
		cards.refuseAs(templateCardCount, fmt.Sprintf("The template has %d cards; the message has %d.", len(p.Cards), length), templateCardCount.Fix)
		return
	}
	for i, card := range cards.objects() {
		d.check(card, &p.Cards[i])
	}
}

// checkCode checks the code of an authentication template, which its body and its button have.
func (d *declared) checkCode() {
	for _, code := range d.codes {
		if utf8.RuneCountInString(code.bare()) > mostCode {
			code.refuse(templateCodeLong)
		} else if code.bare() != d.codes[0].bare() {
			code.refuse(templateCodeOther)
		}
	}
}
