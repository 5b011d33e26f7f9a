package message

// ErrorDetail is Meta's own text about an error, for people. It is cut to a length that a record can hold, its
// control characters are escaped and phone numbers are masked. No decision depends on it, because Meta
// translates its texts. Logs do not contain it.
type ErrorDetail struct {
	Message string `json:"message,omitempty" doc:"Meta's message. If another server answered in place of Meta, for example a proxy: the HTTP status and headers that describe it."`
	Details string `json:"details,omitempty" doc:"Meta's error_data.details."`
	Subcode int    `json:"error_subcode,omitempty" doc:"Meta's error_subcode."`
	Trace   string `json:"fbtrace_id,omitempty" doc:"Meta's fbtrace_id, which its support asks for."`
}
