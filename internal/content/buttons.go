package content

// Meta, Cloud API, "Interactive reply buttons messages".
var (
	buttonCount = between(1, 3, "buttons", "buttons")
	buttonID    = required(256, "button_id", "button id")
	buttonTitle = required(20, "button_title", "button title")
	twiceID     = rule(Invalid, "button_id_duplicate", "Each button id differs from the others of the message.", "Give it a value of its own.")
	twiceTitle  = rule(Invalid, "button_title_duplicate", "Each button title differs from the others of the message.", "Give it a value of its own.")
)

func (n node) checkButtons() { n.get("buttons").checkReplies("reply") }

// checkReplies checks reply buttons; those in a carousel's card have another name.
func (n node) checkReplies(kind string) {
	ids, titles := map[string]bool{}, map[string]bool{}
	for _, button := range n.counted(buttonCount) {
		button.get("type").oneOf(kind)
		id, title := button.get(kind).get("id"), button.get(kind).get("title")
		id.distinct(ids, id.within(buttonID), twiceID)
		title.distinct(titles, title.within(buttonTitle), twiceTitle)
	}
}

// Meta, Cloud API, "Interactive list messages".
var (
	listBody       = bodyLimit.allowing(4096)
	listButton     = required(20, "list_button", "list button")
	sectionCount   = between(1, 10, "sections", "sections")
	sectionTitle   = atMost(24, "section_title", "section title")
	sectionNamed   = needed("section_title_empty", "Where there are several sections, each has a title.", "Give it 1 to 24 characters.")
	rowCount       = between(0, 10, "rows", "rows in all sections together")
	rowsMissing    = needed("rows_missing", "A section has at least one row.", "Add a row, or remove the section.")
	rowID          = required(200, "row_id", "row id")
	rowTitle       = required(24, "row_title", "row title")
	rowDescription = atMost(72, "row_description", "row description")
	twiceRow       = rule(Invalid, "row_id_duplicate", "Each row id differs from the others of the message.", "Give it a value of its own.")
)

func (n node) checkList() {
	n.get("button").within(listButton)
	sections := n.get("sections")
	ids, count := map[string]bool{}, 0
	several, _ := sections.length()
	for _, section := range sections.counted(sectionCount) {
		if title := section.get("title"); blank(title.within(sectionTitle)) && several > 1 {
			title.refuse(sectionNamed)
		}
		rows := section.get("rows")
		count += rows.filled(rowsMissing)
		for _, row := range rows.objects() {
			id := row.get("id")
			id.distinct(ids, id.within(rowID), twiceRow)
			row.get("title").within(rowTitle)
			row.get("description").within(rowDescription)
		}
	}
	rowCount.check(sections, count)
}

// Meta, Cloud API, "Interactive call-to-action URL button messages".
var displayText = required(20, "display_text", "button's display text")

func (n node) checkURLButton() {
	if p, ok := n.parameters("cta_url"); ok {
		p.get("display_text").within(displayText)
		p.get("url").checkURL()
	}
}

// Meta, Cloud API, "Calling", call buttons.
var (
	callText    = atMost(20, "call_display_text", "call button's display text")
	callPayload = atMost(512, "call_payload", "call button's payload")
	callMinutes = rule(Invalid, "call_ttl_minutes_invalid", "A call button lasts 1 to 43200 minutes.", "Give whole minutes in that range, or leave it out.")
)

func (n node) checkVoiceCall() {
	n.checkName("voice_call")
	if p := n.get("parameters"); p.object() {
		p.get("display_text").within(callText)
		p.get("payload").within(callPayload)
		p.get("ttl_minutes").checkCallMinutes()
	}
}

func (n node) checkCallMinutes() {
	if n.present() {
		n.whole(1, 43200, callMinutes)
	}
}

// Meta, Cloud API, "Address messages".
var countryInvalid = rule(Invalid, "address_country_invalid", "An address message has the code of a country.", `Give two capital letters, for example IN.`)

func (n node) checkAddress() {
	p, ok := n.parameters("address_message")
	if !ok {
		return
	}
	country := p.get("country")
	if s, ok := country.text(); ok && (len(s) != 2 || !only(s, 'A', 'Z')) {
		country.refuse(countryInvalid)
	}
	p.get("values").object()
	p.get("validation_errors").object()
	for _, saved := range p.get("saved_addresses").objects() {
		saved.texts("id")
		saved.get("value").object()
	}
}
