package content

import (
	"math"
	"slices"
	"strings"
)

// Meta, Cloud API, "Template components": parameters.
var (
	parameterType     = needed("template_parameter_type_missing", "A parameter needs its type.", "Give text, image or another type that the template's component takes.")
	parameterText     = rule(Invalid, "template_parameter_invalid", "A template parameter is not blank and has no new lines, no tabs and at most 4 spaces in a row.", "Put line breaks into the template, not into its parameters.")
	parameterLimit    = atMost(32768, "template_parameter", "parameter's text")
	parameterNameOdd  = rule(Invalid, "template_parameter_name_invalid", "A parameter's name has lower-case letters, digits and underscores.", "Use the name as the template has it, without braces.")
	parameterNameSame = rule(Invalid, "template_parameter_name_duplicate", "Each named parameter comes once.", "Give each its own name.")
	parameterNamesMix = rule(Invalid, "template_parameter_names_mixed", "A template's parameters have names or positions, not both.", "Give all of them a parameter_name, or none.")
	parameterMissing  = needed("template_parameter_missing", "A parameter has its value in the member that its type names.", "Add it.")
	fallbackMissing   = needed("template_fallback_empty", "A currency or time has a fallback_value.", "Give the words that stand there when it cannot be put in local form.")
	currencyAmount    = rule(Invalid, "template_amount_invalid", "A currency's amount_1000 is a whole number: the amount times 1000.", "Write 12.34 as 12340.")
	couponLimit       = required(20, "coupon_code", "coupon code")
	couponOdd         = rule(Invalid, "coupon_code_invalid", "A coupon code has letters and digits only.", "Leave out spaces and signs.")
	offerExpiry       = rule(Invalid, "template_offer_expiry_invalid", "An offer ends at a time in milliseconds since 1970.", "Give a whole number in expiration_time_ms.")
	tapMissing        = needed("tap_target_empty", "A link's preview has a URL and a title.", "Give both, in one object of an array.")
)

// checkParameter checks a parameter of a kind this version knows; others are the template's.
func (n node) checkParameter() {
	kind := strings.ToLower(n.get("type").word(parameterType))
	value := n.get(kind)
	switch kind {
	case "text":
		value.checkParameterText()
	case "image", "video", "document", "gif":
		value.checkMedia(kind)
	case "currency":
		if value.neededObject(parameterMissing) {
			value.get("fallback_value").word(fallbackMissing)
			value.get("code").checkCurrency()
			value.get("amount_1000").whole(math.MinInt64, math.MaxInt64, currencyAmount)
		}
	case "date_time":
		if value.neededObject(parameterMissing) {
			value.get("fallback_value").word(fallbackMissing)
		}
	case "location":
		if value.neededObject(locationMissing) {
			value.checkLocation()
		}
	case "product":
		if value.neededObject(parameterMissing) {
			value.checkProduct()
		}
	case "coupon_code":
		if code := value.within(couponLimit); !couponCharacters.spell(code) {
			value.refuse(couponOdd)
		}
	case "limited_time_offer":
		if value.neededObject(parameterMissing) {
			value.get("expiration_time_ms").whole(0, math.MaxInt64, offerExpiry)
		}
	case "tap_target_configuration":
		value.checkTapTargets()
	case "payload":
		value.word(parameterMissing)
	case "ttl_minutes":
		value.checkCallMinutes()
	}
}

func (n node) checkParameterText() {
	s, ok := n.text()
	if !ok {
		return
	}
	if blank(s) || strings.ContainsAny(s, "\n\r\t") || strings.Contains(s, "     ") {
		n.refuse(parameterText)
		return
	}
	n.within(parameterLimit)
}

func (n node) checkTapTargets() {
	if !n.present() {
		n.refuse(parameterMissing)
	}
	for _, target := range n.objects() {
		target.get("title").word(tapMissing)
		if target.get("url").word(tapMissing) != "" {
			target.get("url").checkURL()
		}
	}
}

// parameterNames collects the names of a component's parameters.
type parameterNames struct {
	names      []string
	positional bool // there was one without a name
}

func (p *parameterNames) add(parameter node) {
	n := parameter.get("parameter_name")
	name, ok := n.text()
	if !ok {
		return
	}
	given := n.present()
	if given && p.positional || !given && len(p.names) > 0 {
		parameter.refuse(parameterNamesMix)
	}
	switch {
	case !given:
		p.positional = true
		return
	case name == "" || !nameCharacters.spell(name):
		n.refuse(parameterNameOdd)
	case slices.Contains(p.names, name):
		n.refuse(parameterNameSame)
	}
	p.names = append(p.names, name)
}
