package content

// Meta, Cloud API, "Sending a Flow".
var (
	flowVersion        = rule(Invalid, "flow_version_invalid", `The version of flow messages is "3".`, `Add "flow_message_version": "3".`)
	flowMissing        = needed("flow_missing", "A flow message names its flow by flow_id or by flow_name.", "Give one of them.")
	flowAmbiguous      = rule(Invalid, "flow_ambiguous", "A flow message names its flow by flow_id or by flow_name, not by both.", "Remove one of the two.")
	flowButton         = required(30, "flow_cta", "flow's button")
	flowPayloadAction  = rule(Invalid, "flow_payload_not_allowed", "Only the flow action navigate has a payload.", "Leave out flow_action_payload, or set flow_action to navigate.")
	flowDataEmpty      = needed("flow_data_empty", "The data for a flow's first screen is an object with members.", "Add one, or leave out data.")
	flowIdentifierNone = needed("flow_identifier_empty", "The flow's id or name is blank.", "Copy it from the flow's page.")
)

func (n node) checkFlow() {
	p, ok := n.parameters("flow")
	if !ok {
		return
	}
	version := p.get("flow_message_version")
	if s, ok := version.text(); ok && s != "3" {
		version.refuse(flowVersion)
	}
	id, name := p.get("flow_id"), p.get("flow_name")
	switch {
	case id.present() && name.present():
		p.refuse(flowAmbiguous)
	case id.present():
		id.id(flowIdentifierNone)
	case name.present():
		name.id(flowIdentifierNone)
	default:
		p.refuse(flowMissing)
	}
	p.get("flow_cta").within(flowButton)
	p.get("mode").oneOf("draft", "published")
	p.texts("flow_token")
	action, payload := p.get("flow_action"), p.get("flow_action_payload")
	if kind := action.oneOf("navigate", "data_exchange"); kind == "data_exchange" && payload.present() {
		payload.refuse(flowPayloadAction)
	} else if payload.object() {
		payload.texts("screen")
		payload.get("data").checkFlowData()
	}
}

func (n node) checkFlowData() {
	if n.object() && n.value.Len() == 0 {
		n.refuse(flowDataEmpty)
	}
}
