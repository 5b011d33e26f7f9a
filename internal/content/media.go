package content

import (
	"slices"
	"strings"
)

// Meta, Cloud API, "Image messages" and the pages of the other kinds of media.
var (
	captionLimit      = atMost(1024, "caption", "caption")
	captionNotAllowed = rule(Invalid, "caption_not_allowed", "Audio and stickers have no caption.", "Leave it out, or send the words as a text.")
	mediaMissing      = needed("media_missing", "A media object has either an id or a link.", "Give the id of an uploaded file, or a link.")
	mediaAmbiguous    = rule(Invalid, "media_ambiguous", "A media object has either an id or a link.", "Remove one of the two.")
	mediaIDEmpty      = needed("media_id_empty", "The media id is blank.", "Give the id of an uploaded file.")
)

var memberUnexpected = rule(Invalid, "member_unexpected", "Meta knows this member of other kinds of media, and refuses it here.", "Remove it.")

// mediaMembers are the members that each kind of media in a message has, in addition to id and link.
var mediaMembers = map[string][]string{
	"image": {"caption"}, "video": {"caption"}, "gif": {"caption"}, "document": {"caption", "filename"}, "audio": {"voice"}, "sticker": nil,
}

// unexpectedMembers are members that some kinds of media have, and members of what Meta says about media in
// webhooks and answers. Meta refuses those that the kind does not have.
var unexpectedMembers = []string{"caption", "filename", "voice", "mime_type", "sha256", "file_size", "url", "animated"}

// checkMediaMessage checks the content of a message whose type is a kind of media.
func (n node) checkMediaMessage(kind string) {
	if !n.object() {
		return
	}
	n.checkFile(kind)
	switch kind {
	case "audio":
		n.get("voice").boolean()
	case "sticker":
	default:
		n.get("caption").within(captionLimit)
	}
}

// checkMedia holds for every object that names a file of a kind and may not be left out.
func (n node) checkMedia(kind string) {
	if n.neededObject(mediaMissing) {
		n.checkFile(kind)
	}
}

func (n node) checkFile(kind string) {
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
	n.texts("filename") // Meta names no limit
	for _, name := range unexpectedMembers {
		if member := n.get(name); member.present() && !slices.Contains(mediaMembers[kind], name) {
			member.refuseUnexpected(name, kind)
		}
	}
}

// refuseUnexpected reports a member that another kind of media has.
func (n node) refuseUnexpected(name, kind string) {
	if name == "caption" {
		n.refuse(captionNotAllowed)
		return
	}
	n.refuseAs(memberUnexpected, "Meta refuses the member "+name+" of "+kind+".", memberUnexpected.Fix)
}

// mediaID takes a string, and the digits of an id as a number: Meta takes both.
func (n node) mediaID() {
	if number, ok := n.value.Number(); ok && strings.Trim(number, "0123456789") == "" {
		return
	}
	if hash, is := strings.CutPrefix(n.id(mediaIDEmpty), uploadPrefix); is && !IsHash(hash) {
		n.refuse(mediaHash)
	}
}
