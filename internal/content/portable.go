package content

import (
	"slices"
	"strings"

	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// mediaKinds are the members with media of a message.
var mediaKinds = message.MediaKinds()

// Portable reports whether another number of the same account can send a stored message: it names no other message, which Meta knows
// only at its number, and no media id, which belongs to the number that uploaded it.
func Portable(payload string) bool {
	var d jsondoc.Doc
	if d.Read(payload[max(0, strings.IndexByte(payload, '{')):]) != nil { // a signature, which may precede it, has no '{'
		return false
	}
	for name := range d.Root().Members() {
		if slices.Contains(naming, name) {
			return false
		}
	}
	return !hasMediaID(d.Root())
}

// hasMediaID reports whether a value has a media object with an id, at any depth.
func hasMediaID(v jsondoc.Value) bool {
	for name, member := range v.Members() {
		if slices.Contains(mediaKinds, name) && member.Get("id").Present() || hasMediaID(member) {
			return true
		}
	}
	for _, one := range v.Elements() {
		if hasMediaID(one) {
			return true
		}
	}
	return false
}
