package content

import (
	"slices"
	"strings"
)

// Meta, Cloud API, "Template messages".
var (
	templateName     = rule(Invalid, "template_name_invalid", "A template's name has 1 to 512 lower-case letters, digits and underscores.", "Use the name as Meta shows it.")
	languageMissing  = needed("template_language_missing", "A template needs the code of its language.", `Add "language": {"code": "en_US"} with the template's own code.`)
	languageInvalid  = rule(Invalid, "template_language_invalid", "A language's code has letters, digits and underscores.", "Write en_US, not en-US: the code that Meta shows with the template.")
	componentMissing = needed("template_component_type_missing", "A component needs its type.", "Give header, body, button or another of the template's components.")
	componentTwice   = rule(Invalid, "template_component_duplicate", "A template has at most one component of this type.", "Put the parameters of one component into one object.")
	headerParameters = between(0, 1, "template_header_parameters", "parameters of a header")
	expiryMissing    = needed("template_offer_missing", "A limited-time offer has one parameter of the type limited_time_offer.", "Give when it ends in expiration_time_ms, in milliseconds since 1970.")
)

// Meta, Cloud API, "Media card carousel templates", "Product card carousel templates".
var (
	templateCards  = between(2, 10, "template_cards", "cards")
	cardsNested    = rule(Invalid, "template_cards_nested", "A card has no cards.", "Move the carousel out of the card.")
	cardComponents = needed("template_card_components_missing", "A card has components.", "List its header, its buttons, and its body if that has parameters.")
)

const mostName = 512

var (
	nameCharacters     = charactersOf("abcdefghijklmnopqrstuvwxyz0123456789_")
	couponCharacters   = charactersOf("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
	languageCharacters = charactersOf("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")
)

// characters is a set of ASCII characters.
type characters [256]bool

func charactersOf(all string) *characters {
	var c characters
	for i := range len(all) {
		c[all[i]] = true
	}
	return &c
}

// spell reports whether s has no other characters.
func (c *characters) spell(s string) bool {
	for i := range len(s) {
		if !c[s[i]] {
			return false
		}
	}
	return true
}

// single are the components of which a template or a card has one at most.
var single = []string{"header", "body", "limited_time_offer", "carousel"}

// checkTemplate returns the template's name and language. Whether the template exists and
// takes these parameters only Meta knows, and so what kinds of component it has: those this
// version does not know pass.
func (n node) checkTemplate() (name, language string) {
	if !n.object() {
		return "", ""
	}
	name, ok := n.get("name").text()
	if ok && (name == "" || len(name) > mostName || !nameCharacters.spell(name)) {
		n.get("name").refuseWord(templateName, templateName.Detail, templateName.Fix)
	}
	if l := n.get("language"); l.object() || !l.present() {
		l.get("policy").oneOf("deterministic")
		code := l.get("code")
		language = code.word(languageMissing)
		if !languageCharacters.spell(language) && !blank(language) {
			code.refuseWord(languageInvalid, languageInvalid.Detail, languageInvalid.Fix)
		}
	}
	n.checkComponents(false)
	return name, language
}

// checkComponents checks the components of a template or of a card in it.
func (n node) checkComponents(card bool) {
	var seen, buttons []string
	for _, component := range n.get("components").objects() {
		kind := strings.ToLower(component.get("type").word(componentMissing)) // Meta takes both, and its pages show both
		if kind == "button" {
			buttons = component.checkTemplateButton(buttons)
			continue
		}
		if slices.Contains(single, kind) && slices.Contains(seen, kind) {
			component.get("type").refuse(componentTwice)
		}
		seen = append(seen, kind)
		if kind == "carousel" {
			component.checkCards(card)
			continue
		}
		component.checkParameters(kind)
	}
}

func (n node) checkParameters(kind string) {
	parameters := n.get("parameters")
	length, _ := parameters.length()
	if kind == "header" {
		headerParameters.check(parameters, length)
	}
	if kind == "limited_time_offer" && length != 1 {
		parameters.refuse(expiryMissing)
	}
	var names parameterNames
	for _, parameter := range parameters.objects() {
		parameter.checkParameter()
		if kind == "header" || kind == "body" {
			names.add(parameter)
		}
	}
}

func (n node) checkCards(nested bool) {
	if nested {
		n.refuse(cardsNested)
		return
	}
	indexes := map[int64]bool{}
	for _, card := range n.get("cards").counted(templateCards) {
		card.checkCardIndex(indexes)
		if components := card.get("components"); !components.present() {
			components.refuse(cardComponents)
		}
		card.checkComponents(true)
	}
}
