package content

import (
	"strings"

	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// MediaType is a type of files that Meta accepts.
type MediaType struct {
	Kind string // of a message: image, video, audio, document or sticker
	Type string // the MIME type
	Most int64  // of a file, in bytes
}

// MediaTypes returns the types of files that Meta accepts:
// https://developers.facebook.com/docs/whatsapp/cloud-api/reference/media#supported-media-types
func MediaTypes() []MediaType {
	return []MediaType{
		{"audio", "audio/aac", 16 << 20},
		{"audio", "audio/amr", 16 << 20},
		{"audio", "audio/mpeg", 16 << 20},
		{"audio", "audio/mp4", 16 << 20},
		{"audio", "audio/ogg", 16 << 20},
		{"document", "text/plain", 100 << 20},
		{"document", "application/pdf", 100 << 20},
		{"document", "application/msword", 100 << 20},
		{"document", "application/vnd.ms-excel", 100 << 20},
		{"document", "application/vnd.ms-powerpoint", 100 << 20},
		{"document", "application/vnd.openxmlformats-officedocument.wordprocessingml.document", 100 << 20},
		{"document", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", 100 << 20},
		{"document", "application/vnd.openxmlformats-officedocument.presentationml.presentation", 100 << 20},
		{"image", "image/jpeg", 5 << 20},
		{"image", "image/png", 5 << 20},
		{"sticker", "image/webp", 500 << 10}, // an animated sticker; a still one may have 100 KB
		{"video", "video/mp4", 16 << 20},
		{"video", "video/3gpp", 16 << 20},
	}
}

// CheckLink checks a link to a file by the rules of messages.
func CheckLink(link string) []message.Problem {
	var d jsondoc.Doc
	text := jsondoc.AppendString([]byte(`{"link":`), strings.ToValidUTF8(link, "\uFFFD"))
	if d.Read(string(append(text, '}'))) != nil {
		return []message.Problem{{Path: "link", Code: linkInvalid.Code, Detail: linkInvalid.Detail, Fix: linkInvalid.Fix}}
	}
	return inspect(d.Root(), func(n node) { n.get("link").checkLink() })
}
