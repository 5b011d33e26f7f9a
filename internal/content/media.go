package content

import "strings"

// Meta, Cloud API, "Image messages" and the pages of the other kinds of media.
var (
	captionLimit      = atMost(1024, "caption", "caption")
	captionNotAllowed = rule(Invalid, "caption_not_allowed", "Audio and stickers have no caption.", "Leave it out, or send the words as a text.")
	mediaMissing      = needed("media_missing", "A media object has either an id or a link.", "Give the id of an uploaded file, or a link.")
	mediaAmbiguous    = rule(Invalid, "media_ambiguous", "A media object has either an id or a link.", "Remove one of the two.")
	mediaIDEmpty      = needed("media_id_empty", "The media id is blank.", "Give the id of an uploaded file.")
)

// checkMediaMessage checks the content of a message whose type is a kind of media.
func (n node) checkMediaMessage(kind string) {
	if !n.object() {
		return
	}
	n.checkFile()
	caption := n.get("caption")
	switch kind {
	case "audio", "sticker":
		if caption.present() {
			caption.refuse(captionNotAllowed)
		}
		n.get("voice").boolean()
	default:
		caption.within(captionLimit)
	}
}

// checkMedia holds for every object that names a file and may not be left out.
func (n node) checkMedia() {
	if n.neededObject(mediaMissing) {
		n.checkFile()
	}
}

func (n node) checkFile() {
	id, link := n.get("id"), n.get("link")
	switch {
	case id.present() && link.present():
		n.refuse(mediaAmbiguous)
	case id.present():
		id.mediaID()
	case link.present():
		link.checkLink()
	default:
		n.refuse(mediaMissing)
	}
	n.texts("filename") // documents only; Meta names no limit
}

// mediaID takes a string, and the digits of an id as a number: Meta takes both.
func (n node) mediaID() {
	if number, ok := n.value.Number(); ok && strings.Trim(number, "0123456789") == "" {
		return
	}
	n.id(mediaIDEmpty)
}
