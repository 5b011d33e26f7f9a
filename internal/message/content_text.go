package message

// textLimit is from Meta, Cloud API, "Text messages".
var textLimit = limit{what: "text body", code: "text", max: 4096}

func (n node) checkText() {
	if !n.object() {
		return
	}
	n.get("body").within(textLimit)
	n.get("preview_url").boolean()
}
