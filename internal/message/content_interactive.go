package message

import (
	"slices"
	"strings"
)

// Meta, Cloud API, "Interactive reply buttons messages".
var (
	buttonBody  = limit{what: "body", code: "interactive_body", max: 1024}
	headerText  = limit{what: "header", code: "header", max: 60}
	footerText  = limit{what: "footer", code: "footer", max: 60}
	buttonID    = limit{what: "button id", code: "button_id", max: 256}
	buttonTitle = limit{what: "button title", code: "button_title", max: 20}
)

const mostButtons = 3

// Meta, Cloud API, "Interactive list messages".
var (
	listBody       = limit{what: "body", code: "interactive_body", max: 4096}
	listButton     = limit{what: "list button", code: "list_button", max: 20}
	sectionTitle   = limit{what: "section title", code: "section_title", max: 24}
	rowID          = limit{what: "row id", code: "row_id", max: 200}
	rowTitle       = limit{what: "row title", code: "row_title", max: 24}
	rowDescription = limit{what: "row description", code: "row_description", max: 72, optional: true}
)

const (
	mostSections = 10
	mostRows     = 10 // of all sections together
)

func (n node) checkInteractive() {
	if !n.object() {
		return
	}
	kind := n.get("type")
	name, ok := kind.text()
	switch {
	case name == "button":
		n.checkFrame(buttonBody, "text", "image", "video", "document")
		n.checkButtons()
	case name == "list":
		n.checkFrame(listBody, "text")
		n.checkList()
	case ok && name == "":
		kind.refuse("interactive_type_missing", "An interactive message needs its kind.", "Give button, list or another of Meta's interactive kinds.")
	}
}

// checkFrame checks what stands round an action: header and footer may be absent.
func (n node) checkFrame(body limit, headers ...string) {
	if header := n.get("header"); header.object() {
		kind, ok := header.get("type").text()
		switch {
		case !ok:
		case !slices.Contains(headers, kind):
			header.get("type").refuse("header_type_not_allowed", "The header's type must be one of "+strings.Join(headers, ", ")+".", "Change the header, or leave it out.")
		case kind == "text":
			header.get("text").within(headerText)
		default:
			header.get(kind).checkNeededMedia()
		}
	}
	if b := n.get("body"); b.object() || !b.present() {
		b.get("text").within(body)
	}
	if footer := n.get("footer"); footer.object() {
		footer.get("text").within(footerText)
	}
}

func (n node) checkButtons() {
	ids, titles := map[string]bool{}, map[string]bool{}
	for _, button := range n.get("action").get("buttons").between(1, mostButtons, "buttons", "buttons") {
		if !button.object() {
			continue
		}
		if kind, ok := button.get("type").text(); ok && kind != "reply" {
			button.get("type").refuse("value_not_allowed", "A reply button's type is reply.", `Add "type": "reply".`)
		}
		id, title := button.get("reply").get("id"), button.get("reply").get("title")
		id.distinct(ids, id.within(buttonID), "button_id_duplicate", "button id")
		title.distinct(titles, title.within(buttonTitle), "button_title_duplicate", "button title")
	}
}

func (n node) checkList() {
	action := n.get("action")
	action.get("button").within(listButton)
	sections := action.get("sections")
	ids, count := map[string]bool{}, 0
	for _, section := range sections.between(1, mostSections, "sections", "sections") {
		if !section.object() {
			continue
		}
		section.get("title").within(sectionTitle)
		rows := section.get("rows").items()
		if len(rows) == 0 {
			section.get("rows").refuse("rows_missing", "A section has at least one row.", "Add a row, or remove the section.")
		}
		count += len(rows)
		for _, row := range rows {
			row.checkRow(ids)
		}
	}
	if count > mostRows {
		sections.refuseCount(count, 1, mostRows, "rows", "rows in all sections together")
	}
}

func (n node) checkRow(ids map[string]bool) {
	if !n.object() {
		return
	}
	n.get("id").distinct(ids, n.get("id").within(rowID), "row_id_duplicate", "row id")
	n.get("title").within(rowTitle)
	n.get("description").within(rowDescription)
}
