package content

import (
	"slices"
	"strings"
)

var (
	interactiveMissing = needed("interactive_type_missing", "An interactive message needs its kind.", "Give it in type: button, list or another of Meta's kinds.")
	interactiveUnknown = rule(Invalid, "interactive_type_unknown", "This version of Sluice knows no interactive message of this kind.", "Give button, list or another of Meta's kinds in type.")
	notInGroups        = rule(Invalid, "interactive_not_in_groups", "A group cannot be asked for its contact.", "Send it to a person.")
)

// Meta, Cloud API, "Interactive messages".
var (
	bodyLimit         = required(1024, "interactive_body", "body")
	headerLimit       = required(60, "header", "header")
	footerLimit       = atMost(60, "footer", "footer")
	headerMissing     = needed("header_missing", "A message of this kind has a header.", "Add one.")
	headerTypeInvalid = rule(Invalid, "header_type_not_allowed", "A message of this kind has no header of this type.", "Change the header, or leave it out.")
	headerNotAllowed  = rule(Invalid, "header_not_allowed", "A message of this kind has no header.", "Leave it out.")
	footerNotAllowed  = rule(Invalid, "footer_not_allowed", "A message of this kind has no footer.", "Leave it out.")
	actionMissing     = needed("action_missing", "An interactive message has an action.", "Add the action of its kind.")
)

// frame is what may stand round an action.
type frame struct {
	headers  []string // the types of header; none: it has no header
	needed   bool     // the header
	body     *limit
	bodiless bool // the body may be absent
	noFooter bool
}

var anyHeader = []string{"text", "image", "video", "document"}

// interactives are the kinds of interactive message: what stands round their action, and
// the check of the action.
var interactives = map[string]struct {
	frame
	check func(action node)
}{
	"button":                   {frame{headers: anyHeader, body: bodyLimit}, node.checkButtons},
	"list":                     {frame{headers: anyHeader[:1], body: listBody}, node.checkList},
	"cta_url":                  {frame{headers: anyHeader, body: bodyLimit}, node.checkURLButton},
	"flow":                     {frame{headers: anyHeader, body: bodyLimit}, node.checkFlow},
	"product":                  {frame{body: bodyLimit, bodiless: true}, node.checkProduct},
	"product_list":             {frame{headers: anyHeader[:1], needed: true, body: bodyLimit}, node.checkProductList},
	"catalog_message":          {frame{headers: anyHeader, body: bodyLimit}, node.checkCatalog},
	"carousel":                 {frame{body: bodyLimit, noFooter: true}, node.checkCarousel},
	"location_request_message": {frame{body: bodyLimit, noFooter: true}, named("send_location")},
	"address_message":          {frame{headers: anyHeader, body: bodyLimit}, node.checkAddress},
	"order_details":            {frame{headers: anyHeader, body: bodyLimit}, node.checkOrderDetails},
	"order_status":             {frame{headers: anyHeader, body: bodyLimit}, node.checkOrderStatus},
	"call_permission_request":  {frame{headers: anyHeader, body: bodyLimit, bodiless: true}, named("call_permission_request")},
	"voice_call":               {frame{headers: anyHeader, body: bodyLimit}, node.checkVoiceCall},
	"request_contact_info":     {frame{headers: anyHeader, body: bodyLimit}, named("request_contact_info")},
}

// checkInteractive returns false when the kind is one that this version does not know.
func (n node) checkInteractive(group bool) bool {
	if !n.object() {
		return true
	}
	name := strings.ToLower(n.get("type").word(interactiveMissing))
	kind, known := interactives[name]
	if !known {
		return blank(name) || !n.get("type").unknownKind(name, interactiveUnknown)
	}
	if group && name == "request_contact_info" {
		n.get("type").refuse(notInGroups)
	}
	n.checkFrame(kind.frame)
	if action := n.get("action"); action.neededObject(actionMissing) {
		kind.check(action)
	}
	return true
}

func (n node) checkFrame(f frame) {
	n.checkHeader(f)
	if body := n.get("body"); body.object() || !body.present() && !f.bodiless {
		body.get("text").within(f.body)
	}
	footer := n.get("footer")
	switch {
	case f.noFooter && footer.present():
		footer.refuse(footerNotAllowed)
	case footer.object():
		footer.get("text").within(footerLimit)
	}
}

func (n node) checkHeader(f frame) {
	header := n.get("header")
	switch {
	case !header.present() && f.needed:
		header.refuse(headerMissing)
		return
	case header.present() && f.headers == nil:
		header.refuse(headerNotAllowed)
		return
	case !header.object():
		return
	}
	kind, ok := header.get("type").text()
	kind = strings.ToLower(kind)
	switch {
	case !ok:
	case !slices.Contains(f.headers, kind):
		header.get("type").refuseAs(headerTypeInvalid, "The header's type must be "+list(f.headers)+".", headerTypeInvalid.Fix)
	case kind == "text":
		header.get("text").within(headerLimit)
	default:
		header.get(kind).checkMedia(kind)
	}
}

// named is the check of an action of which nothing but the name is fixed.
func named(name string) func(action node) {
	return func(action node) { action.checkName(name) }
}

func (n node) checkName(name string) { n.get("name").neededOneOf(name) }

var parametersMissing = needed("action_parameters_missing", "The action has parameters.", "Add the object parameters.")

// parameters returns an action's parameters, and whether they are there.
func (n node) parameters(name string) (node, bool) {
	n.checkName(name)
	p := n.get("parameters")
	return p, p.neededObject(parametersMissing)
}
