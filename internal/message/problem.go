package message

// Problem is one mistake in a request. It never repeats what the caller wrote, because that can be private
// and long.
type Problem struct {
	Path   string `json:"path" doc:"The place of the mistake, for example message.interactive.action.buttons[3].reply.title. Empty: the whole request."`
	Code   string `json:"code" doc:"Sluice's code of the mistake, for programs, for example button_title_too_long. It does not change between versions."` // content.Rules has those of a message object
	Detail string `json:"detail" doc:"What is wrong, and the rule."`
	Fix    string `json:"fix" doc:"What to do."`
}
