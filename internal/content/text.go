package content

// textLimit is from Meta, Cloud API, "Text messages".
var textLimit = required(4096, "text", "text body")

// directTextLimit is from Meta, Cloud API, "Direct Send".
var directTextLimit = textLimit.allowing(1024)

func (n node) checkText(l *limit) {
	if !n.object() {
		return
	}
	n.get("body").within(l)
	n.get("preview_url").boolean()
}
