package content

import (
	"maps"
	"slices"
	"strings"
)

// Meta, Cloud API, "Template components": buttons.
var (
	buttonKind       = needed("template_button_sub_type_missing", "A button needs its sub_type.", "Give quick_reply, url, copy_code, flow or another kind that the template's button has.")
	buttonUnknown    = rule(Invalid, "template_button_sub_type_unknown", "Meta has no button of this sub_type.", "Give quick_reply, url, copy_code, flow or another kind that the template's button has.")
	buttonIndex      = rule(Invalid, "template_button_index_invalid", "A button's index is 0 to 9.", "Count the template's buttons from 0.")
	buttonIndexTwice = rule(Invalid, "template_button_index_duplicate", "Each button has an index of its own.", "Count the template's buttons from 0.")
	buttonNeedsOne   = needed("template_button_parameter_missing", "A button of this kind has one parameter.", "Give it; leave out the whole button if the template's has no variable.")
	buttonTooMany    = rule(Invalid, "template_button_parameters_too_many", "A button of this kind has fewer parameters.", "Remove the others.")
	buttonWrongType  = rule(Invalid, "template_button_parameter_invalid", "A button of this kind takes no parameter of this type.", "Change the parameter, or the sub_type.")
	buttonAction     = needed("template_button_action_missing", "The action of the button is missing.", "Add the object action.")
	buttonOrder      = needed("template_button_order_missing", "The order of the button is missing.", "Add the object order_details.")
)

// templateButtons are the kinds of button that parameters are given for: how many, of which
// types, and what is in the action of one. Codes of authentication templates come as url,
// with the code as its text. Meta refuses other kinds with "sub_type invalid". Of kinds without
// types the parameters are the template's.
var templateButtons = map[string]struct {
	least, most int
	types       []string
	action      func(action node)
}{
	"quick_reply":   {1, 1, []string{"payload", "text"}, nil},
	"url":           {1, 1, []string{"text", "payload"}, nil},
	"copy_code":     {1, 1, []string{"coupon_code"}, nil},
	"flow":          {0, 1, []string{"action"}, node.checkFlowAction},
	"catalog":       {0, 1, []string{"action"}, node.checkThumbnail},
	"mpm":           {1, 1, []string{"action"}, node.checkProductsAction},
	"order_details": {1, 1, []string{"action"}, node.checkOrderAction},
	"voice_call":    {0, 2, []string{"ttl_minutes", "payload"}, nil},
	"app":           {0, 10, nil, nil},
	"spm":           {0, 10, nil, nil},
}

// checkTemplateButton checks a component that is a button. It takes and returns the indexes
// of the buttons before it.
func (n node) checkTemplateButton(indexes []string) []string {
	kind := strings.ToLower(n.get("sub_type").word(buttonKind))
	button, known := templateButtons[kind]
	if !known && !blank(kind) {
		n.get("sub_type").refuseWord(buttonUnknown, "The sub_type must be "+list(slices.Sorted(maps.Keys(templateButtons)))+".", buttonUnknown.Fix)
	}
	parameters := n.get("parameters")
	length, ok := parameters.length()
	if known && (ok || !parameters.present()) {
		if length < button.least {
			parameters.refuse(buttonNeedsOne)
		} else if length > button.most {
			parameters.refuse(buttonTooMany)
		}
	}
	for _, parameter := range parameters.objects() {
		parameter.checkParameter()
		name := strings.ToLower(parameter.get("type").bare())
		if button.types != nil && name != "" && !slices.Contains(button.types, name) {
			parameter.get("type").refuseAs(buttonWrongType, "The parameter's type must be "+list(button.types)+".", buttonWrongType.Fix)
		}
		if action := parameter.get("action"); name == "action" && action.neededObject(buttonAction) && button.action != nil {
			button.action(action)
		}
	}
	return n.get("index").checkButtonIndex(indexes, kind)
}

// checkButtonIndex takes "0" and 0: Meta's pages show both. A call button's page shows none.
func (n node) checkButtonIndex(seen []string, kind string) []string {
	if kind == "voice_call" && !n.present() {
		return seen
	}
	index := n.numeral()
	switch {
	case len(index) != 1 || index < "0" || index > "9":
		n.refuse(buttonIndex)
	case slices.Contains(seen, index):
		n.refuse(buttonIndexTwice)
	}
	return append(seen, index)
}

func (n node) checkFlowAction() {
	n.texts("flow_token")
	n.get("flow_action_data").checkFlowData()
}

func (n node) checkProductsAction() {
	n.checkThumbnail()
	n.get("sections").checkProductSections()
}

func (n node) checkOrderAction() {
	if order := n.get("order_details"); order.neededObject(buttonOrder) {
		order.checkPayment()
	}
}
