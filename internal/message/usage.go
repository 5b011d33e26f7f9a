package message

// Usage is what Meta took of a client in a day.
type Usage struct {
	Day      string `json:"day" doc:"The day, by UTC, like 2026-01-31."`
	Client   string `json:"client" doc:"The client."`
	Number   string `json:"phone_number_id" doc:"Meta's id of the sending number."`
	Category string `json:"category" doc:"authentication, service, utility or marketing: of taken the class of the messages, of billed the category that Meta charges for, which can also be marketing_lite (Marketing Messages API) and others of Meta."`
	Taken    int    `json:"taken" doc:"Messages that Meta took. A message that Meta took twice counts twice. It counts on the day of its attempt."`
	Billed   int    `json:"billed" doc:"Messages that Meta charges for, by the pricing objects of its delivery reports. They count on the day of the report."`
}
