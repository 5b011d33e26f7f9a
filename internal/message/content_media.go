package message

// captionLimit is from Meta, Cloud API, "Image messages" and "Document messages".
var captionLimit = limit{what: "caption", code: "caption", max: 1024, optional: true}

// checkMedia holds for every object that names a file: it has an id or a link.
func (n node) checkMedia() {
	if !n.object() {
		return
	}
	id, link := n.get("id"), n.get("link")
	switch {
	case id.present() && link.present():
		n.refuse("media_ambiguous", "A media object has either an id or a link.", "Remove one of the two.")
	case id.present():
		if s, ok := id.text(); ok && s == "" {
			id.refuse("media_id_empty", "The media id is empty.", "Give the id of an uploaded file.")
		}
	case link.present():
		link.checkLink()
	default:
		n.refuse("media_missing", "A media object has either an id or a link.", "Give the id of an uploaded file, or an https link.")
	}
	n.get("filename").text() // documents only; Meta names no limit
}

func (n node) checkCaption() { n.get("caption").within(captionLimit) }

// checkNeededMedia is checkMedia where the object may not be left out.
func (n node) checkNeededMedia() {
	if !n.present() {
		n.refuse("media_missing", "The media object is missing.", "Give the id of an uploaded file, or an https link.")
	}
	n.checkMedia()
}
