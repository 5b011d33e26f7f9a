package message

import "errors"

// MediaKinds returns the kinds of media: the types of messages and of parameters that name a file.
func MediaKinds() []string { return []string{"image", "video", "document", "audio", "sticker"} }

// MediaFile is what a server says of a file behind a link.
type MediaFile struct {
	Type  string `json:"content_type,omitempty" doc:"The Content-Type of the file, without parameters. Absent: the server sends none that can be read."`
	Bytes int64  `json:"bytes" doc:"The size of the file. -1: the server does not say it, and the file is larger than 17 MB."`
}

// The codes of what is wrong with such a file.
const (
	MediaUnreachable = "media_unreachable"
	MediaTypeWrong   = "media_type_wrong"
	MediaTooLarge    = "media_too_large"
)

// ErrBusy means that too many requests of this kind are running.
var ErrBusy = errors.New("too many requests at the same time")
