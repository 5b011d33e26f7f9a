package message

import (
	"encoding/json"
	"strings"
)

// Meta, Cloud API, "Template messages" and "Template components".
var (
	parameterLimit = limit{what: "parameter's text", code: "template_parameter", max: 32768, optional: true}
	couponLimit    = limit{what: "coupon code", code: "coupon_code", max: 20}
)

const (
	nameCharacters = "abcdefghijklmnopqrstuvwxyz0123456789_"
	mostName       = 512
	leastCards     = 2
	mostCards      = 10
)

// checkTemplate returns the template's name and language. Whether the template exists and
// takes these parameters only Meta knows.
func (n node) checkTemplate() (name, language string) {
	if !n.object() {
		return "", ""
	}
	name, ok := n.get("name").text()
	if ok && (name == "" || len(name) > mostName || strings.Trim(name, nameCharacters) != "") {
		n.get("name").refuse("template_name_invalid", "A template's name has 1 to 512 lower-case letters, digits and underscores.", "Use the name as Meta shows it.")
	}
	if l := n.get("language"); l.object() || !l.present() {
		language, ok = l.get("code").text()
		if ok && language == "" {
			l.get("code").refuse("template_language_missing", "A template needs the code of its language.", `Add "language": {"code": "en_US"} with the template's own code.`)
		}
	}
	n.checkComponents()
	return name, language
}

// checkComponents checks the components of a template or of a card in it.
func (n node) checkComponents() {
	for _, component := range n.get("components").items() {
		if !component.object() {
			continue
		}
		kind, ok := component.get("type").text()
		if ok && kind == "" {
			component.get("type").refuse("template_component_type_missing", "A component needs its type.", "Give header, body, button or another of the template's components.")
		}
		for _, parameter := range component.get("parameters").items() {
			parameter.checkParameter()
		}
		switch strings.ToLower(kind) { // Meta takes both, and its pages show both
		case "button":
			component.get("index").checkButtonIndex()
		case "carousel":
			component.checkCards()
		}
	}
}

func (n node) checkCards() {
	for _, card := range n.get("cards").between(leastCards, mostCards, "template_cards", "cards") {
		if card.object() {
			card.checkComponents()
		}
	}
}

// checkButtonIndex takes "0" and 0: Meta's pages show both.
func (n node) checkButtonIndex() {
	index, _ := n.value.(string)
	if number, ok := n.value.(json.Number); ok {
		index = number.String()
	}
	if len(index) != 1 || index < "0" || index > "9" {
		n.refuse("template_button_index_invalid", "A button's index is 0 to 9.", "Count the template's buttons from 0.")
	}
}

func (n node) checkParameter() {
	if !n.object() {
		return
	}
	kind, _ := n.get("type").text()
	switch strings.ToLower(kind) {
	case "text":
		n.get("text").checkParameterText()
	case "image", "video", "document":
		n.get(strings.ToLower(kind)).checkNeededMedia()
	case "coupon_code":
		n.get("coupon_code").within(couponLimit)
	}
}

func (n node) checkParameterText() {
	s, ok := n.text()
	if !ok {
		return
	}
	if strings.TrimSpace(s) == "" || strings.ContainsAny(s, "\n\r\t") || strings.Contains(s, "     ") {
		n.refuse("template_parameter_invalid", "A template parameter is not blank and has no new lines, no tabs and at most 4 spaces in a row.", "Put line breaks into the template, not into its parameters.")
		return
	}
	n.within(parameterLimit)
}
