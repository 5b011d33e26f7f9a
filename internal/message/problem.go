package message

// Problem is one thing wrong with a request. It never repeats what the caller wrote: that
// may be private, and it may be long.
type Problem struct {
	Path   string `json:"path" doc:"Where: message.interactive.action.buttons[3].reply.title, say. Empty: the request as a whole."`
	Code   string `json:"code" doc:"Stable, for programs: button_title_too_long, say."` // content.Rules has those of a message object
	Detail string `json:"detail" doc:"The rule and its limit."`
	Fix    string `json:"fix" doc:"What to do about it."`
}
