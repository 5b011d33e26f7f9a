package content

import (
	"slices"
	"strings"

	"sluice/internal/jsondoc"
)

// uploadPrefix begins a media id that names a file by the SHA-256 hash of its content, in 64 lower-case hexadecimal digits. Meta does not know
// such ids.
const uploadPrefix = "sha256:"

var mediaHash = rule(Invalid, "media_hash_invalid", "A media id that begins with sha256: goes on with 64 hexadecimal digits in lower case.", "Give the SHA-256 hash of the file, or the id that Meta gave it.")

// IsHash reports whether a text is a SHA-256 hash as uploads are named.
func IsHash(s string) bool { return len(s) == 64 && strings.Trim(s, "0123456789abcdef") == "" }

// Uploads returns the hashes of the files that a stored message names by them, see AppendPayload. Nil for most messages.
func Uploads(payload []byte) (hashes []string) {
	if !strings.Contains(string(payload), `"id":"`+uploadPrefix) { // almost always
		return nil
	}
	eachUpload(payload, func(_ int, hash string) {
		if !slices.Contains(hashes, hash) {
			hashes = append(hashes, hash)
		}
	})
	return hashes
}

// UseUploads returns a stored message with Meta's ids of files in place of their hashes.
func UseUploads(payload []byte, ids map[string]string) []byte {
	out, end := make([]byte, 0, len(payload)), 0
	eachUpload(payload, func(at int, hash string) {
		out = jsondoc.AppendString(append(out, payload[end:at]...), ids[hash])
		end = at + len(uploadPrefix) + len(hash) + len(`""`)
	})
	return append(out, payload[end:]...)
}

// eachUpload calls f with the place and the hash of each file that a stored message names by its hash, in their order.
func eachUpload(payload []byte, f func(at int, hash string)) {
	var d jsondoc.Doc
	if d.Read(string(payload)) != nil {
		return
	}
	var walk func(v jsondoc.Value)
	walk = func(v jsondoc.Value) {
		for name, member := range v.Members() {
			if slices.Contains(mediaKinds, name) {
				id := member.Get("id")
				text, _ := id.Text()
				if hash, is := strings.CutPrefix(text, uploadPrefix); is && IsHash(hash) {
					f(id.Start(), hash)
				}
			}
			walk(member)
		}
		for _, one := range v.Elements() {
			walk(one)
		}
	}
	walk(d.Root())
}
