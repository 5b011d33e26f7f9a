package message

import (
	"cmp"
	"encoding/json"
)

// DecodeEvent reads an event as an event stream stores it. An event of version 1, in which some members had
// other names, becomes an event of the present version.
func DecodeEvent(text []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(text, &e); err != nil || e.Version != 1 {
		return e, err
	}
	var old struct {
		Number  string          `json:"number"`
		WABA    string          `json:"waba"`
		Report  *statusReportV1 `json:"receipt"`
		Message struct {
			From string `json:"from"`
		} `json:"message"`
	}
	if err := json.Unmarshal(text, &old); err != nil {
		return e, err
	}
	e.Version, e.Number, e.WABA = EventVersion, old.Number, old.WABA
	if old.Report != nil {
		e.Report = old.Report.report()
	}
	if e.Message != nil {
		e.Message.From = old.Message.From
	}
	return e, nil
}

// DecodeStatusReport reads a status report that is stored alone, also with the member names of version 1.
func DecodeStatusReport(text []byte) (StatusReport, error) {
	var r statusReportV1
	err := json.Unmarshal(text, &r)
	return *r.report(), err
}

// statusReportV1 is a status report with the member that had another name in version 1.
type statusReportV1 struct {
	StatusReport
	Sender string `json:"number"`
}

func (r *statusReportV1) report() *StatusReport {
	r.Number = cmp.Or(r.Number, r.Sender)
	return &r.StatusReport
}
