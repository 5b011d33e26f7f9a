package intake

import (
	"encoding/json"
	"strconv"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// Short names for refusals.
type refusal = httpapi.Refusal

func refuse(code string) refusal                { return httpapi.Refuse(code) }
func refuseAt(path, code string) refusal        { return httpapi.RefuseAt(path, code) }
func problem(path, code string) message.Problem { return httpapi.Problem(path, code) }

// append appends a as encoding/json writes it, ten times faster. Each message needs such an answer.
func (a *acceptedMessage) append(b []byte) []byte {
	return append(a.appendMembers(append(b, '{')), '}')
}

func (a *acceptedMessage) appendMembers(b []byte) []byte {
	b = jsondoc.AppendString(append(b, `"id":`...), a.ID)
	b = jsondoc.AppendString(append(b, `,"state":`...), string(a.State))
	b = jsondoc.AppendString(append(b, `,"class":`...), string(a.Class))
	b = a.ExpiresAt.AppendFormat(append(b, `,"expires_at":"`...), time.RFC3339Nano)
	b = strconv.AppendBool(append(b, `","duplicate":`...), a.Duplicate)
	if a.WAMID != "" {
		b = jsondoc.AppendString(append(b, `,"wamid":`...), a.WAMID)
	}
	if a.Code != 0 {
		b = strconv.AppendInt(append(b, `,"code":`...), int64(a.Code), 10)
	}
	if a.Reason != "" {
		b = jsondoc.AppendString(append(b, `,"reason":`...), a.Reason)
	}
	if len(a.Warnings) > 0 {
		warnings, _ := json.Marshal(a.Warnings) // cannot fail for strings
		b = append(append(b, `,"warnings":`...), warnings...)
	}
	return b
}

// append appends v as encoding/json writes it.
func (v *lineResult) append(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"line":`...), int64(v.Line), 10)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(v.Status), 10)
	if v.acceptedMessage != nil {
		b = v.acceptedMessage.appendMembers(append(b, ','))
	}
	if v.Problem != nil {
		problem, _ := json.Marshal(v.Problem) // cannot fail for strings and numbers
		b = append(append(b, `,"problem":`...), problem...)
	}
	return append(b, '}')
}
