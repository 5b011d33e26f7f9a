package message

// ErrorDetail is what Meta said of an error, in its own words, for people: cut to a length that a
// record can hold, with control characters escaped and phone numbers masked. No decision rests on it:
// Meta translates its texts. It is kept out of logs.
type ErrorDetail struct {
	Message string `json:"message,omitempty" doc:"Meta's message. Of an answer that is not Meta's: who answered."`
	Details string `json:"details,omitempty" doc:"Meta's error_data.details."`
	Subcode int    `json:"error_subcode,omitempty" doc:"Meta's error_subcode."`
	Trace   string `json:"fbtrace_id,omitempty" doc:"Meta's fbtrace_id, which its support asks for."`
}
